"""An output folder that appears whole or not at all."""

from __future__ import annotations

import atexit
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from npuopt.errors import FULL, NpuoptError, UsageError, cannot_write

if TYPE_CHECKING:
    from collections.abc import Generator

MANIFEST = "manifest.json"

_unfinished: set[Path] = set()


@atexit.register
def _remove_unfinished() -> None:
    """Remove what Ctrl-C left in the moment between making a folder and being ready to remove it."""
    for folder in _unfinished:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_folder(final: Path, marker: str = MANIFEST) -> Generator[Path]:
    """Yield a temporary folder beside `final` that takes its name when the block ends well.

    An earlier artifact of that name is replaced only then; on any error or Ctrl-C the temporary folder goes and
    the earlier artifact stays.

    Args:
        final: the folder to be.
        marker: the file that says of a folder that npuopt made it.

    Raises:
        UsageError: when `final` exists and is neither empty nor made by npuopt, or its parent cannot be written.
        NpuoptError: when the disk is full.
    """
    if final.exists() and not _replaceable(final, marker):
        raise UsageError("exists and is no npuopt artifact", where=str(final), hint="choose another folder with -o")
    work = final.parent / f".{final.name}.{secrets.token_hex(8)}"
    _unfinished.add(work)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        work.mkdir(mode=0o700)
    except OSError as error:
        raise cannot_write(error, str(final.parent)) from error
    try:
        yield work
        work.chmod(0o755)
        _take_place(work, final)
    except BaseException as error:
        shutil.rmtree(work, ignore_errors=True)
        if isinstance(error, NpuoptError):  # a path in the unfinished folder would name nothing now
            error.where = error.where.replace(str(work), str(final))
        if isinstance(error, OSError) and error.errno in FULL:
            raise cannot_write(error, str(final)) from error
        raise
    finally:
        _unfinished.discard(work)


def _replaceable(folder: Path, marker: str) -> bool:
    return folder.is_dir() and ((folder / marker).is_file() or not any(folder.iterdir()))


def _take_place(work: Path, final: Path) -> None:
    """Rename `work` to `final`; an earlier folder is moved aside first and removed last."""
    if not final.exists():
        work.rename(final)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{final.name}.old.", dir=final.parent)) / final.name
    final.rename(aside)
    try:
        work.rename(final)
    except OSError:
        aside.rename(final)
        raise
    finally:
        if final.exists():
            shutil.rmtree(aside.parent, ignore_errors=True)
