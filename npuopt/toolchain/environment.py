"""An installed toolchain: its interpreter, its versions, its licence."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from npuopt.errors import ToolchainMissingError
from npuopt.toolchain.definition import Definition, find_definition
from npuopt.toolchain.location import toolchains_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD = "toolchain.json"
"""Written last into an environment: one without it is not whole."""
RECORD_BYTES = 1 << 20


@dataclass(frozen=True)
class Environment:
    """An isolated Python environment with one vendor's tool in it.

    Attributes:
        name: the toolchain's.
        folder: of the environment.
        python: its interpreter; give it to `run_child`.
        versions: of every package in it.
        licence: name of the tool's licence.
        lock: names the list of packages, the Python version and the kind of machine it was made for.
        bytes: disk space that it takes.
    """

    name: str
    folder: Path
    python: str
    versions: Mapping[str, str]
    licence: str
    lock: str
    bytes: int = 0

    def tools(self) -> dict[str, str]:
        """Return the versions of the packages that matter, for `CompiledRegion.tools`."""
        return {name: self.versions.get(name, "?") for name in find_definition(self.name).packages}

    def record(self) -> dict[str, Any]:
        """Return what a manifest should say of the tool that made something."""
        return {"name": self.name, "versions": self.tools(), "licence": self.licence, "lock": self.lock}


def environment(name: str) -> Environment:
    """Return the installed toolchain `name`.

    Raises:
        UsageError: there is no toolchain of that name.
        ToolchainMissingError: it is not installed, not whole, or does not exist for this machine; the hint is the
            command that mends it.
    """
    definition = find_definition(name)
    if (found := installed(definition)) is not None:
        return found
    definition.ensure_runs_here()
    older = any(toolchains_folder().glob(f"{name}-*"))
    what = "is installed in another version than this npuopt needs, or damaged" if older else "is not installed"
    raise ToolchainMissingError(
        f"the toolchain {name} ({definition.title}) {what}", hint=f"npuopt toolchain install {name}"
    )


def folder_of(definition: Definition) -> Path:
    """Return where the environment of `definition` lies or would lie."""
    return toolchains_folder() / f"{definition.name}-{definition.key}"


def installed(definition: Definition) -> Environment | None:
    """Return the environment made from exactly this definition, or None when there is none or its Python is gone."""
    folder = folder_of(definition)
    record, python = _read_record(folder / RECORD), interpreter(folder)
    if record is None or not python.exists():
        return None
    return Environment(
        definition.name, folder, str(python), record["versions"], definition.licence, definition.key, record["bytes"]
    )


def interpreter(folder: Path) -> Path:
    """Return the path of an environment's Python."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        with path.open(encoding="utf-8") as file:
            record: object = json.loads(file.read(RECORD_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    known = cast("dict[str, Any]", record)
    whole = isinstance(known.get("versions"), dict) and isinstance(known.get("bytes"), int)
    return known if whole else None
