"""What a person says of a decoder where its graph does not tell: a small YAML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from npuopt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_HINTS = 1 << 20
"""Bytes."""

InputRole = Literal["attention-mask", "positions"]


@dataclass(frozen=True)
class Hints:
    """What is taken as told.

    Attributes:
        tokens: the input for token ids.
        logits: the output of logits.
        inputs: what other inputs are for.
        windows: layer (from 0) -> how many tokens back it looks, 0 for all, where its mask does not show it.
    """

    tokens: str | None = None
    logits: str | None = None
    inputs: dict[str, InputRole] = field(default_factory=dict[str, InputRole])
    windows: dict[int, int] = field(default_factory=dict[int, int])


NO_HINTS = Hints()


def read_hints(path: Path | None) -> Hints:
    """Read a hints file.

    Raises:
        InputError: when it cannot be read, is no YAML, or says something that there is no hint for.
    """
    if path is None:
        return NO_HINTS
    import yaml  # noqa: PLC0415 -- few runs have hints
    from pydantic import ConfigDict, TypeAdapter, ValidationError  # noqa: PLC0415 -- few runs have hints

    try:
        if path.stat().st_size > LARGEST_HINTS:
            raise InputError(f"is larger than {LARGEST_HINTS} bytes", where=str(path))
        told: object = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot be read: {' '.join(str(error).split())}", where=str(path)) from error
    adapter = TypeAdapter(_strict(ConfigDict(extra="forbid")))
    try:
        return adapter.validate_python(told or {})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{place}: {first['msg']}" if place else "is no mapping of hints",
            where=str(path),
            hint="there is tokens, logits, inputs (name: attention-mask or positions) and windows (layer: tokens)",
        ) from error


def _strict(config: object) -> type[Hints]:
    """Return the hints as a type that refuses what it does not know."""
    return type("StrictHints", (Hints,), {"__pydantic_config__": config})
