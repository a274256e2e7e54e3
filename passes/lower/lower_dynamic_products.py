from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, element_type, input_at, rank, static_shape
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value


@dataclass(frozen=True)
class LowerDynamicProducts(Lowering):
    """ONNX Runtime's DynamicQuantizeMatMul and MatMulIntegerToFloat become MatMul of dequantized factors.

    `DynamicQuantizeMatMul(x, w, scale, zero, bias) -> MatMul(DequantizeLinear(DynamicQuantizeLinear(x)),
    DequantizeLinear(w, scale, zero)) + bias`; `MatMulIntegerToFloat(a, b, a_scale, b_scale, a_zero, b_zero, bias)`
    likewise of its own a.

    Left alone: weights of other ranks than 2 with a scale for each column; zero points of another shape than their
    scales; several scales of the first factor.
    """

    name = "lower-dynamic-products"
    op_types = ("com.microsoft::DynamicQuantizeMatMul", "com.microsoft::MatMulIntegerToFloat")
    produces = frozenset({"Add", "DequantizeLinear", "DynamicQuantizeLinear", "MatMul", "Reshape"})

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace `node` by the product of floats."""
        dynamic, build = node.op_type == "DynamicQuantizeMatMul", Builder(edit, node)
        places = (2, 3, 4) if dynamic else (3, 5, 6)
        weight, scale, zero, bias = (input_at(node, place) for place in (1, *places))
        if why := _not_covered(weight, scale, zero):
            return Declined(why)
        if dynamic:
            x: tuple[Value | None, ...] = build.many("DynamicQuantizeLinear", 3, input_at(node, 0))
        else:
            x = tuple(input_at(node, place) for place in (0, 2, 4))
            if why := _several(x[1], x[2]):
                return Declined(why)
        factors = [_dequantized(x[0], x[1], x[2], build), _dequantized(weight, scale, zero, build)]
        result = build("MatMul", *factors)
        edit.replace_node(node, result if bias is None else build("Add", result, bias))
        return Changed(f"became {', '.join(build.emitted)}")


def _not_covered(weight: Value | None, scale: Value | None, zero: Value | None) -> str:
    """Return why the weights cannot be dequantized by themselves, or an empty string."""
    sizes = [_count(value) for value in (scale, zero) if value is not None]
    if None in sizes or len(set(sizes)) > 1 or element_type(weight) is None:
        return "its zero point has another shape than its scale, or its weights are of unknown type"
    return "" if sizes[0] == 1 or rank(weight) == 2 else "it has a scale for each column of several matrices"


def _several(scale: Value | None, zero: Value | None) -> str:
    counts = [_count(value) for value in (scale, zero) if value is not None]
    return "" if counts and set(counts) == {1} else "the first factor has several scales, or of unknown number"


def _count(value: Value | None) -> int | None:
    """Return the number of elements, where the shape tells."""
    shape = static_shape(value)
    return None if shape is None else math.prod(shape)


def _dequantized(value: Value | None, scale: Value | None, zero: Value | None, build: Builder) -> Value:
    """Return a factor in floats; a scale of one element counts for all of it."""
    single = _count(scale) == 1
    parts = [build("Reshape", part, build.integers()) if part is not None and single and rank(part) else part
             for part in (scale, zero)]  # fmt: skip
    return build("DequantizeLinear", value, *parts, axis=None if single else (rank(value) or 1) - 1)
