"""How a Conv, ConvTranspose, Gemm or MatMul takes a scale and a shift of its output channels into its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import (
    attribute,
    constant,
    element_type,
    input_at,
    is_constant,
)
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value


def absorb(
    node: Node, scale: np.ndarray | None, shift: np.ndarray | None, edit: Editor, before: Node
) -> Value | Declined:
    """Emit `node` again with weights that make `scale * node + shift`, or say why that cannot be.

    Args:
        node: a Conv, ConvTranspose or Gemm; or a MatMul of two matrices, which becomes a Gemm.
        scale: one factor for each output channel, or None for 1.
        shift: what is added to each output channel, or None for 0.
        edit: the graph's editor.
        before: where to put the new node.
    """
    weight, bias = input_at(node, 1), input_at(node, 2)
    kind = element_type(weight)
    if weight is None or kind is None or not kind.is_floating_point():
        return Declined(f"its weight is of type {kind}")
    if scale is not None and not is_constant(weight):
        return Declined(f"the weight {weight.name!r} is not constant")
    if bias is not None and not is_constant(bias):
        return Declined(f"the bias {bias.name!r} is not constant")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
        new_weight = None if scale is None else _scaled_weight(node, weight, scale)
        new_bias = _new_bias(node, bias, scale, shift)
        arrays = [array.astype(kind.numpy()) for array in (new_weight, new_bias) if array is not None]
    if not all(np.isfinite(array.astype(np.float64)).all() for array in arrays):
        return Declined(f"the new weights would not be finite in {kind}")
    weight_value = weight if new_weight is None else edit.constant(arrays[0], near=before, name=_derived(weight))
    inputs = [node.inputs[0], weight_value]
    if new_bias is not None:
        inputs.append(edit.constant(arrays[-1], near=before, name=_derived(bias or weight, "bias")))
    attributes = {**node.attributes, **({"beta": None} if node.op_type == "Gemm" else {})}
    op_type = "Gemm" if node.op_type == "MatMul" else node.op_type
    return edit.emit(op_type, inputs, attributes, before=before, name=node.name or "")


def _scaled_weight(node: Node, weight: Value, scale: np.ndarray) -> np.ndarray | None:
    known = constant(weight)
    if known is None:
        return None
    factors = scale.astype(known.dtype if known.dtype.kind == "f" else np.float64)
    if node.op_type == "Conv":
        return known * factors.reshape(-1, *[1] * (known.ndim - 1))
    if node.op_type == "ConvTranspose":
        groups = attribute(node, "group", 1)
        inputs, per_group, *kernel = known.shape
        grouped = known.reshape(groups, inputs // groups, per_group, *kernel)
        return (grouped * factors.reshape(groups, 1, per_group, *[1] * len(kernel))).reshape(known.shape)
    return known * (factors[:, None] if attribute(node, "transB", 0) else factors)


def _new_bias(node: Node, bias: Value | None, scale: np.ndarray | None, shift: np.ndarray | None) -> np.ndarray | None:
    known = constant(bias)
    if known is None:
        return shift
    result = known.astype(np.float64) * (attribute(node, "beta", 1.0) if node.op_type == "Gemm" else 1.0)
    result = result if scale is None else result * scale
    return result if shift is None else result + shift


def _derived(value: Value, suffix: str = "") -> str:
    return f"{value.name}/fused" if not suffix else f"{value.name}/fused_{suffix}"
