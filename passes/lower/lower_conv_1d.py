from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute_list, constant, input_at, rank
from npuopt.passes.lower.formula import FormulaLowering

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

NEUTRAL = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0, "output_shape": 1}


@dataclass(frozen=True)
class LowerConv1d(FormulaLowering):
    """A convolution or a pool over one spatial axis becomes one over two, of which the first has length 1.

    `Conv<kernel_shape = [k]>(x, w, b) -> Squeeze(Conv<kernel_shape = [1, k]>(Unsqueeze(x), Unsqueeze(w), b))`

    Left alone: other numbers of spatial axes; a MaxPool whose indices are read.
    """

    name = "lower-conv-1d"
    op_types = ("Conv", "ConvTranspose", "AveragePool", "MaxPool", "LpPool")
    produces = frozenset({"AveragePool", "Conv", "ConvTranspose", "LpPool", "MaxPool", "Squeeze", "Unsqueeze"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | None:
        """Return the op over two axes."""
        if rank(x) != 3:
            return None
        axis = build.integers(2)
        operands: list[Value | None] = [build("Unsqueeze", x, axis)]
        weight = input_at(node, 1)
        if weight is not None:
            known = constant(weight)
            operands.append(build("Unsqueeze", weight, axis) if known is None else build.array(known[:, :, None]))
        attributes = {name: attr for name, attr in node.attributes.items() if name not in ("pads", *NEUTRAL)}
        given = {
            name: [value, *attribute_list(node, name)] for name, value in NEUTRAL.items() if name in node.attributes
        }
        if "pads" in node.attributes:
            begin, end = attribute_list(node, "pads")
            given["pads"] = [0, begin, 0, end]
        wide = build(node.op_type, *operands, input_at(node, 2), **attributes, **given)
        return build("Squeeze", wide, axis)
