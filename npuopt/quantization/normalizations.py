"""Finds normalizations that are written as a mean of squares and a power of minus a half."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import Anything, Constant, Number, Op, attribute, match

if TYPE_CHECKING:
    from npuopt.graph import Match, Node

ROWS = Anything("rows")
MEAN = Op("ReduceMean", Op("Mul", ROWS, ROWS), Anything("axes"), name="mean")
POWER = Op("Pow", Op("Add", MEAN, Constant("epsilon")), Number(-0.5), name="power")
NORMALIZED = Op("Mul", ROWS, POWER)


def match_normalization(node: Node) -> Match | None:
    """Return what a node normalizes: `rows`, `axes` and `epsilon`, and the nodes `mean` and `power`."""
    found = match(NORMALIZED, node)
    return found if found is not None and attribute(found.nodes["mean"], "keepdims", 1) else None
