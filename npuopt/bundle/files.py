"""Sizes and hashes of files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from npuopt.bundle.folder import MANIFEST
from npuopt.bundle.manifest import FileRecord

if TYPE_CHECKING:
    from pathlib import Path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_files(folder: Path) -> dict[str, FileRecord]:
    """Return size and hash of every file below `folder` but the manifest, by relative path."""
    return {
        str(path.relative_to(folder).as_posix()): FileRecord(bytes=path.stat().st_size, sha256=sha256(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }
