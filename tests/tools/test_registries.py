"""npm and apt-get as sources of data, played by scripts."""

import hashlib
from pathlib import Path

import pytest

from tools.models.recipes.registries import DebianPackage, NpmPackage

CONTENT = b"what the archive holds"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An otherwise empty folder that programs are looked for in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def play(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_npm_packs_the_pinned_release_and_runs_nothing_of_it(programs: Path, tmp_path: Path) -> None:
    play(programs, "npm", f"printf '%s' '{CONTENT.decode()}' > made.tgz; echo \"$*\" > {tmp_path / 'asked'}")
    archive = NpmPackage("@some/texts", "1.2.3", SHA256).fetch(tmp_path)
    assert archive.read_bytes() == CONTENT
    assert (tmp_path / "asked").read_text() == "pack --ignore-scripts --silent @some/texts@1.2.3\n"


def test_a_debian_package_becomes_a_tar_of_its_files(programs: Path, tmp_path: Path) -> None:
    play(programs, "apt-get", f"printf '%s' '{CONTENT.decode()}' > data_1.0-1_all.deb")
    play(programs, "dpkg-deb", "printf '%s' files")
    files = DebianPackage("data", "1.0-1", SHA256).fetch(tmp_path)
    assert files.suffix == ".tar"
    assert files.read_bytes() == b"files"
    assert [path.name for path in files.parent.iterdir()] == [files.name]


def test_another_archive_than_the_pinned_one_is_refused(programs: Path, tmp_path: Path) -> None:
    play(programs, "npm", "printf '%s' other > made.tgz")
    with pytest.raises(SystemExit, match=r"texts@1\.2\.3 has another sha256 than it had"):
        NpmPackage("texts", "1.2.3", SHA256).fetch(tmp_path)


@pytest.mark.usefixtures("programs")
def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"data=1\.0-1 comes by apt-get, which is not installed"):
        DebianPackage("data", "1.0-1", SHA256).fetch(tmp_path)


def test_a_failure_is_passed_on_with_its_words(programs: Path, tmp_path: Path) -> None:
    play(programs, "npm", "echo no such release >&2; exit 1")
    with pytest.raises(SystemExit, match=r"npm could not download texts@9: no such release"):
        NpmPackage("texts", "9", SHA256).fetch(tmp_path)
