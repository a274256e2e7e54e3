"""Writes HardSwish as a sum, a Clip and products, which have 16 bits where HardSwish has 8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import input_at, is_op
from npuopt.passes.lower.lower_hard_swish import clipped
from npuopt.passes.quantize.replacement import replace_where_taken
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model
    from npuopt.target import Target


@dataclass(frozen=True)
class LowerHardSwishToClip(Pass):
    """Write HardSwish as `x * (Clip(x + 3, 0, 6) * 1/6)`.

    Each of these ops may be held in 16 bits by chips whose HardSwish has 8 alone; the Clip may end the sum.

    Left alone: nodes that are not named, and where the target refuses one of the new nodes.

    Attributes:
        names: of what the nodes make.
    """

    name: ClassVar[str] = "lower-hard-swish-to-clip"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    names: Sequence[str] = ()

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Write each HardSwish that is named as arithmetic."""
        report = Report(self.name)
        for node in list(model.graph) if self.names else ():
            name = node.outputs[0].name or ""
            if name not in self.names:
                continue
            why, x = "no HardSwish", input_at(node, 0)
            if is_op(node, "HardSwish") and x is not None:
                _, why = replace_where_taken(node, partial(clipped, x), model, target)
            entry = Entry(name, "HardSwish", why or "became a sum, a Clip and products")
            (report.declined if why else report.changed).append(entry)
        return report
