"""Tensors that pass from one model to another, such as a cache, and are held the same way in both."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from npuopt.errors import InputError, UsageError
from npuopt.quantization.encodings import Encodings
from npuopt.quantization.roles import float_values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from npuopt.graph import Model
    from npuopt.quantization.encodings import Encoding

    Pattern = tuple[str, Path]


def parse_alike(texts: Iterable[str]) -> tuple[Pattern, ...]:
    """Read `PATTERN=FILE` texts.

    Raises:
        UsageError: when one is of another form.
    """
    patterns: list[Pattern] = []
    for text in texts:
        pattern, equals, file = text.partition("=")
        if not equals or not pattern or not file:
            raise UsageError(f"--like {text!r} is not NAMES=FILE", hint="for example present_*=prefill.json")
        patterns.append((pattern, Path(file)))
    return tuple(patterns)


def shared_encodings(model: Model, patterns: Iterable[Pattern]) -> dict[str, Encoding]:
    """Return how tensors of the model that fit the patterns are held elsewhere, by name.

    Raises:
        InputError: when a file is bad, or has no tensor of the model that fits.
    """
    names = {value.name or "" for value in float_values(model)}
    found: dict[str, Encoding] = {}
    for pattern, path in patterns:
        held = Encodings.load(path).tensors
        fitting = {name: one for name, one in held.items() if name in names and fnmatchcase(name, pattern)}
        if not fitting:
            raise InputError(f"has no tensor of this model that is called {pattern!r}", where=str(path))
        found |= {name: one for name, one in fitting.items() if one.axis is None}
    return found
