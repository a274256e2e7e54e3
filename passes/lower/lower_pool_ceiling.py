from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import other_attributes, windows
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerPoolCeiling(FormulaLowering):
    """A pool that rounds its size up gets as much padding as its last window needs.

    `MaxPool<ceil_mode = 1>(x) -> MaxPool<pads>(x)`; AveragePool likewise, which leaves padding out of its means

    Left alone: no `ceil_mode`; an AveragePool that counts padding; a MaxPool whose indices are read; padding
    that would be as long as the kernel; shapes that are not static.
    """

    name = "lower-pool-ceiling"
    op_types = ("AveragePool", "MaxPool")
    produces = frozenset({"AveragePool", "MaxPool"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the pool with all its padding in numbers."""
        if not attribute(node, "ceil_mode", 0):
            return None
        if attribute(node, "count_include_pad", 0):
            return Declined("it counts padding, of which there would be more")
        found = windows(node)
        if isinstance(found, Declined):
            return found
        found = replace(found, ends=found.needed_ends())
        if any(end >= taps for end, taps in zip(found.ends, found.kernel, strict=True)):
            return Declined(f"it would need padding of {found.ends}, not less than its kernel")
        return build(node.op_type, x, **other_attributes(node), **found.attributes())
