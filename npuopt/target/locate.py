"""Where descriptors lie: the folders to look in, the ids that are there, the file that an id means."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import npuopt
from npuopt.errors import InputError, UsageError
from npuopt.target.diagnostics import did_you_mean

_ID = re.compile(r"[a-z0-9_][a-z0-9._-]*(/[a-z0-9_][a-z0-9._-]*)*\Z")
_SUFFIXES = (".yaml", ".yml")


@cache
def roots() -> tuple[Path, ...]:
    """List the folders of descriptors: npuopt's own, then those of installed plug-ins.

    A plug-in names its folder with an entry point of the group `npuopt.targets` whose object is a path. Looked for
    once, as that means reading a file of every installed package.
    """
    found = [Path(npuopt.__file__).parent / "targets"]
    found.extend(Path(str(entry.load())) for entry in entry_points(group="npuopt.targets"))
    return tuple(root.resolve() for root in found)


def list_targets() -> list[str]:
    """List the ids of all installed targets, sorted. Family files, whose names start with `_`, are no targets."""
    ids: set[str] = set()
    for root in roots():
        for file in root.rglob("*.yaml"):
            if not file.name.startswith("_") and file.resolve().is_relative_to(root):
                ids.add(file.relative_to(root).with_suffix("").as_posix())
    return sorted(ids)


def is_path(text: str) -> bool:
    """Say whether `text` is meant as a file rather than as an id."""
    return text.endswith(_SUFFIXES) or text.startswith((".", "/", "~"))


def find(text: str | Path) -> Path:
    """Return the file that an id or a path means.

    Raises:
        UsageError: no such target, or a family file.
        InputError: no such file.
    """
    if isinstance(text, Path) or is_path(text):
        path = Path(text).expanduser()
        if not path.is_file():
            raise InputError("no such file", where=str(path), hint="give a descriptor's path or a target's id")
        return path
    file = find_id(text)
    if file is None:
        hint = "`npuopt targets list` shows every target"
        raise UsageError(f"no target {text!r}{did_you_mean(text, list_targets())}", hint=hint)
    if file.name.startswith("_"):
        raise UsageError(f"{text} is a family, not a chip", hint="`npuopt targets list` shows every target")
    return file


def find_id(name: str) -> Path | None:
    """Return the file of an id, family files included, or None. Never a file outside the descriptor folders."""
    if not _ID.match(name):
        return None
    for root in roots():
        file = (root / f"{name}.yaml").resolve()
        if file.is_file() and file.is_relative_to(root):
            return file
    return None


def shown(path: Path) -> str:
    """Write a descriptor's path for a person: `targets/...` for an installed one, else as it was given."""
    resolved = path.resolve()
    for root in roots():
        if resolved.is_relative_to(root):
            return f"targets/{resolved.relative_to(root).as_posix()}"
    return str(path)
