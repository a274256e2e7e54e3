from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import constant, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerTile(FormulaLowering):
    """Tile becomes joins of its input with itself.

    `Tile(x, [1, 3]) -> Concat<axis = 1>(x, x, x)`, axis by axis

    Left alone: repeats given at run time, or more than `most`; a result without elements.

    Attributes:
        most: repeats of one axis.
    """

    name = "lower-tile"
    op_types = ("Tile",)
    produces = frozenset({"Concat", "Identity"})

    most: int = 64

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the joined tensor."""
        repeats = constant(input_at(node, 1))
        if repeats is None:
            return Declined("its repeats are not constant")
        if repeats.size and not 1 <= repeats.min() <= repeats.max() <= self.most:
            return Declined(f"its repeats {repeats.tolist()} are not from 1 to {self.most}")
        value = x
        for axis, count in enumerate(repeats.tolist()):
            if count > 1:
                value = build("Concat", *[value] * count, axis=axis)
        return build("Identity", x) if value is x else value
