from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from npuopt.graph import attribute, attribute_list, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import other_attributes, windows
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerConvPadding(FormulaLowering):
    """The padding of a convolution or an average becomes a Pad ahead of it.

    `Conv<pads>(x, w) -> Conv(Pad(x), w)`; what is the same before and behind stays in the convolution unless `all`
    is asked for. `auto_pad` becomes numbers.

    Left alone: no padding to move; an AveragePool that leaves padding out of its means or has `ceil_mode`; shapes
    that are not static.

    Attributes:
        all: move padding that is the same before and behind too.
    """

    name = "lower-conv-padding"
    op_types = ("AveragePool", "Conv")
    produces = frozenset({"AveragePool", "Conv", "Pad"})

    all: bool = False

    def forms(self) -> tuple[LowerConvPadding, ...]:
        """Return the lowering of what is uneven, and that of all."""
        return (self, replace(self, all=True))

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the op behind the Pad."""
        found = windows(node)
        if isinstance(found, Declined):
            return found
        if not any((*found.begins, *found.ends)):
            return None
        if node.op_type == "AveragePool" and not attribute(node, "count_include_pad", 0):
            return Declined("padding is left out of its means")
        if attribute(node, "ceil_mode", 0):
            return Declined("ceil_mode is set")
        shared = [0 if self.all else min(pair) for pair in zip(found.begins, found.ends, strict=True)]
        if [*shared, *shared] == attribute_list(node, "pads"):
            return None
        ahead = [begin - kept for begin, kept in zip(found.begins, shared, strict=True)]
        behind = [end - kept for end, kept in zip(found.ends, shared, strict=True)]
        padded = x
        if any((*ahead, *behind)):
            padded = build("Pad", x, build.integers(0, 0, *ahead, 0, 0, *behind), 0.0)
        rest = replace(found, begins=shared, ends=shared)
        weights = (input_at(node, 1), input_at(node, 2))
        return build(node.op_type, padded, *weights, **other_attributes(node), **rest.attributes())
