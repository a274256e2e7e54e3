import errno
import subprocess
import sys

import pytest

from npuopt.bundle import MANIFEST, atomic_folder
from npuopt.errors import InputError, NpuoptError, UsageError


def test_appears_whole(tmp_path) -> None:
    with atomic_folder(tmp_path / "out") as work:
        (work / MANIFEST).write_text("{}")
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / MANIFEST).read_text() == "{}"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_error_leaves_nothing_and_keeps_the_earlier_artifact(tmp_path, error) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MANIFEST).write_text("earlier")
    with pytest.raises(error), atomic_folder(tmp_path / "out") as work:
        (work / MANIFEST).write_text("later")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / MANIFEST).read_text() == "earlier"


def test_replaces_an_earlier_artifact(tmp_path) -> None:
    for text in ("earlier", "later"):
        with atomic_folder(tmp_path / "out") as work:
            (work / MANIFEST).write_text(text)
    assert (tmp_path / "out" / MANIFEST).read_text() == "later"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_never_replaces_a_folder_that_is_no_artifact(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="no npuopt artifact"), atomic_folder(tmp_path / "out"):
        raise AssertionError("must not start")
    assert (tmp_path / "out" / "thesis.tex").is_file()


def test_errors_name_the_place_in_the_artifact_not_in_the_unfinished_folder(tmp_path) -> None:
    with pytest.raises(InputError) as caught, atomic_folder(tmp_path / "out") as work:
        raise InputError("does not load", where=str(work / "host" / "model.onnx"))
    assert caught.value.where == str(tmp_path / "out" / "host" / "model.onnx")


def test_a_full_disk_is_no_wrong_usage(tmp_path) -> None:
    with pytest.raises(NpuoptError, match="No space left") as caught, atomic_folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (caught.value.exit_code, caught.value.where) == (1, str(tmp_path / "out"))
    assert not list(tmp_path.iterdir())


def test_what_nobody_could_clean_up_goes_when_the_process_ends(tmp_path) -> None:
    """Ctrl-C may come between the making of the folder and the block that would remove it."""
    program = f"""
import os, sys
from pathlib import Path
from npuopt.bundle import atomic_folder
real = Path.mkdir
def interrupted(self, *arguments, **options):
    real(self, *arguments, **options)
    if self.name.startswith(".out."):
        raise KeyboardInterrupt
Path.mkdir = interrupted
with atomic_folder(Path({str(tmp_path / "out")!r})):
    pass
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert not list(tmp_path.iterdir())
