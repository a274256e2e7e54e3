"""The target inside the artifact: all its facts, resolved, so that running needs no descriptor file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from npuopt.errors import InputError
from npuopt.target import Target
from npuopt.target.schema import Descriptor

if TYPE_CHECKING:
    from pathlib import Path

TARGET_FILE = "target.json"
MAX_TARGET_BYTES = 16 << 20


def write_target(target: Target, folder: Path) -> None:
    """Write the target's resolved facts as `target.json`."""
    facts = target.descriptor.model_dump_json(by_alias=True, indent=1, exclude_defaults=True)
    (folder / TARGET_FILE).write_text(facts + "\n", encoding="utf-8")


def read_target(folder: Path) -> Target:
    """Read the target that an artifact was compiled for.

    Raises:
        InputError: when the file is missing, too large or does not validate.
    """
    path = folder / TARGET_FILE
    if not path.is_file() or path.stat().st_size > MAX_TARGET_BYTES:
        raise InputError("is missing or too large", where=str(path), hint="compile again")
    try:
        return Target.of(Descriptor.model_validate_json(path.read_bytes()))
    except ValidationError as error:
        raise InputError(f"does not validate: {error.errors()[0]['msg']}", where=str(path)) from error
