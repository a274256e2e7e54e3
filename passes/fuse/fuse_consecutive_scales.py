from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, has_one_use, producer
from npuopt.passes.fuse.scales import LIMITS, WIDE_RANGE, raises_rank, read_scale
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseConsecutiveScales(NodePass):
    """Products with, and quotients by, one constant number after another become one product.

    `Div(Mul(x, 6), 3) -> Mul(x, 2)`

    Left alone: a first product that is read elsewhere or is a graph output; half precision; factors that are zero,
    not finite or far from 1; a factor that raises the rank; a quotient of a constant.
    """

    name = "fuse-consecutive-scales"
    op_types = ("Mul", "Div")
    repeat = True
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Let `node` read what the scale before it reads."""
        outer = read_scale(node)
        first = producer(outer[0], "Mul", "Div") if outer is not None else None
        inner = read_scale(first)
        if outer is None or first is None or inner is None:
            return None
        if not has_one_use(first.outputs[0]) or first.graph is not node.graph:
            return Declined(f"{first.outputs[0].name!r} is read elsewhere or is a graph output")
        source, kind = inner[0], first.outputs[0].dtype
        if kind not in WIDE_RANGE:
            return Declined(f"it computes in {kind}")
        factors = (outer[1], inner[1], outer[1] * inner[1])
        if not all(math.isfinite(factor) and LIMITS[0] <= abs(factor) <= LIMITS[1] for factor in factors):
            return Declined(f"its factors {inner[1]:g} and {outer[1]:g} are zero or far from 1")
        if raises_rank(node, source):
            return Declined("a factor raises the rank, or the rank is not known")
        build = Builder(edit, node)
        build.type = kind
        edit.replace(node.outputs[0], build("Mul", source, factors[2]))
        edit.erase_unread(node)
        return Changed(f"became one product with {factors[2]:g}")
