"""Writes HardSwish as a sum, a Clip and products, which have 16 bits where HardSwish has 8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.passes.lower.lower_hard_swish import clipped
from npuopt.passes.quantize.replacement import replace_named
from npuopt.pipeline import Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Builder, Model, Node, Value
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
        became, report = "became a sum, a Clip and products", Report(self.name)
        return replace_named("HardSwish", self.names, _formula, became, report=report, model=model, target=target)


def _formula(node: Node, build: Builder) -> Value:
    return clipped(node.inputs[0], build)
