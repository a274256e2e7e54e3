from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import (
    element_type,
    is_constant,
    producer,
    rank,
    scalar,
)
from npuopt.passes.fuse.scale_plan import ScalePlan
from npuopt.passes.fuse.scales import LIMITS, WIDE_RANGE
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseScalarScale(NodePass):
    """A product with, or a quotient by, one constant number goes up into the constants that made the value.

    `Div(MatMul(Transpose(x * w + b), k), 8) -> MatMul(Transpose(x * (w / 8) + (b / 8)), k)`: a factor passes through
    MatMul, Gemm and products on one side, through sums on both, and through movements of data, until constants take
    it.

    Left alone: half precision; a way up that ends in an input or an op that is not linear; a value on it that is
    read elsewhere or is a graph output; a large constant with other readers, which would be kept twice; a
    constant that would leave the range of its type; a factor that raises the rank, is zero, not finite or far from 1.
    """

    name = "fuse-scalar-scale"
    op_types = ("Mul", "Div")
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the factor of `node` into the constants above it."""
        split = _split(node)
        if split is None:
            return None
        value, factor_value = split
        number = scalar(factor_value)
        if number is None or not LIMITS[0] <= abs(number) <= LIMITS[1]:
            return Declined(f"its factor is {number}, which is zero, not finite or far from 1")
        if rank(node.outputs[0]) is None or rank(node.outputs[0]) != rank(value):
            return Declined("its factor raises the rank, or the rank is not known")
        plan = ScalePlan(number if node.op_type == "Mul" else 1 / number)
        if not plan.reaches_constants(value, node):
            return Declined(plan.why)
        if why := plan.misfit():
            return Declined(why)
        plan.apply(edit)
        edit.replace(node.outputs[0], value)
        edit.erase(node)
        return Changed(f"went into {len(plan.places)} constant{'s' * (len(plan.places) > 1)}")


def _split(node: Node) -> tuple[Value, Value] | None:
    """Return the scaled value and its factor, where the one is made by a node and the other is one float."""
    left, right = node.inputs
    if left is None or right is None:
        return None
    sides = [(left, right), (right, left)] if node.op_type == "Mul" else [(left, right)]
    for value, factor in sides:
        if producer(value) is not None and is_constant(factor) and element_type(value) in WIDE_RANGE:
            return (value, factor) if scalar(factor) is not None else None
    return None
