from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from npuopt.graph import rank, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.passes.lower.windows import Windows, windows
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerMaxPool3d(FormulaLowering):
    """MaxPool over three axes becomes one over the last two and one over the first.

    `MaxPool<kernel_shape = [d, h, w]>(x) -> MaxPool<kernel_shape = [d, 1]>(MaxPool<kernel_shape = [h, w]>(x))`, with
    Reshapes that put the depth beside the channels, and then height and width together

    Left alone: other numbers of axes; indices that are read; padding as long as the kernel; shapes that are not static
    or have no elements.
    """

    name = "lower-max-pool-3d"
    op_types = ("MaxPool",)
    produces = frozenset({"MaxPool", "Reshape"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Return the maxima of the maxima."""
        shape, result = static_shape(x), static_shape(node.outputs[0])
        if rank(x) != 5:
            return None
        found = windows(node)
        if isinstance(found, Declined) or shape is None or result is None:
            return found if isinstance(found, Declined) else Declined("its shapes are not static")
        found = replace(found, ends=found.needed_ends())
        if any(end >= taps for end, taps in zip(found.ends, found.kernel, strict=True)):
            return Declined(f"it would need padding of {found.ends}, not less than its kernel")
        batch, channels, depth, height, width = shape
        images = build("Reshape", x, build.integers(batch, channels * depth, height, width))
        flat = build("MaxPool", images, **_along(found, 1, 3).attributes())
        columns = build("Reshape", flat, build.integers(batch, channels, depth, result[3] * result[4]))
        pooled = build("MaxPool", columns, **_along(found.only(0), 0, 2).attributes())
        return build("Reshape", pooled, build.integers(*result))


def _along(found: Windows, start: int, stop: int) -> Windows:
    """Return the windows along some of the axes."""
    return Windows(
        *(
            values[start:stop]
            for values in (
                found.sizes,
                found.results,
                found.kernel,
                found.strides,
                found.dilations,
                found.begins,
                found.ends,
            )
        )
    )
