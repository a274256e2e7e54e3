"""What is to be run: passes in rounds, and how those of the standard order are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.pipeline.contract import Pass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Late(StrEnum):
    """Steps that depend on what the caller gives: dims, a target."""

    FREEZE = "freeze"
    FUSE = "fuse"
    LEGALIZE = "legalize"


Item = Pass | Late


@dataclass(frozen=True)
class Choice:
    """How the passes of the standard order are to be made.

    Attributes:
        options: pass -> its options, as text or values.
        without: passes to leave out.
    """

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, "Mapping[str, Any]"])
    without: frozenset[str] = frozenset()

    def make(self, names: Iterable[str]) -> list[Pass]:
        """Return the catalogue's passes of these names, but for those left out."""
        kept = [name for name in names if name not in self.without]
        return [with_options(find_pass(name), self.options.get(name, {})) for name in kept]


@dataclass(frozen=True)
class Round:
    """Steps that run once, or until they change nothing."""

    items: tuple[Item, ...]
    repeated: bool = False


@dataclass(frozen=True)
class Recipe:
    """A recipe that was read and found to be right.

    Attributes:
        rounds: what to run, in order; None for the standard order.
        choice: how passes of the standard order are made.
        target: a target's id or a descriptor file.
        dims: sizes of dims.
    """

    rounds: tuple[Round, ...] | None = None
    choice: Choice = field(default_factory=Choice)
    target: str | None = None
    dims: Mapping[str, int] = field(default_factory=dict[str, int])
