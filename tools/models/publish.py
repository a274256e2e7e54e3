"""Folders that are there whole or not at all, and know what made them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

STAMP = "made.json"


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recipe_digest(files: Iterable[Path]) -> str:
    """Return one sha256 over the contents of all files that decide what a recipe makes."""
    digests = [file_digest(path) for path in files]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def is_current(folder: Path, recipe: str) -> bool:
    """Say whether `folder` was made by this recipe and every file is as it was then."""
    try:
        made: dict[str, Any] = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return made["recipe"] == recipe and all(
            file_digest(folder / name) == digest for name, digest in made["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def publish(staging: Path, folder: Path, recipe: str) -> None:
    """Stamp what lies in `staging` and put it in the place of `folder`.

    Killed before the last rename, it leaves the old folder or none, and the next run makes the model anew.
    """
    files = {path.name: file_digest(path) for path in sorted(staging.iterdir())}
    stamp = json.dumps({"recipe": recipe, "files": files}, indent=1)
    (staging / STAMP).write_text(stamp + "\n", encoding="utf-8")
    replaced = staging.with_name(f"{staging.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():
        folder.rename(replaced)
    staging.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Wait until no other process makes models in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
