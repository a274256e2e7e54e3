# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; only the worker imports this file.
"""QuantizeLinear and DequantizeLinear: held weights become constexpr operations, activations are converted in place."""

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import types
from onnx_to_mil.table import Node, Value, constant, emits

HELD: dict = {}
"""Name of a held weight's integers -> the array that was emitted, for the comparison with what was written."""
FOUR_BITS = {"int4": types.np_int4_dtype, "uint4": types.np_uint4_dtype}


@emits("QuantizeLinear")
def quantize(node: Node) -> Value:
    """To 8-bit integers."""
    scale, zero_point = constant(node.inputs[1]), constant(node.input(2))
    kind = np.dtype(node.get("output_dtype") or (zero_point.dtype if zero_point is not None else np.uint8))
    given = {} if zero_point is None else {"zero_point": zero_point}
    axis = {"axis": node.get("axis", 1)} if scale.ndim else {}
    return mb.quantize(input=node.inputs[0], scale=scale, output_dtype=str(kind), **given, **axis)


@emits("DequantizeLinear")
def dequantize(node: Node) -> Value:
    """Back to float: of an activation as it runs, of a weight where it is used, of a bias at once."""
    scale, zero_point = constant(node.inputs[1]).astype(np.float32), constant(node.input(2))
    data = constant(node.inputs[0])
    if data is None:
        given = {} if zero_point is None else {"zero_point": zero_point}
        axis = {"axis": node.get("axis", 1)} if scale.ndim else {}
        return mb.dequantize(input=node.inputs[0], scale=scale, **given, **axis)
    scale, zero_point = _spread(scale, data, node), None if zero_point is None else _spread(zero_point, data, node)
    if data.dtype == np.int32 or data.ndim == 0:
        shift = 0 if zero_point is None else zero_point.astype(np.float32)
        return ((data.astype(np.float32) - shift) * scale).astype(np.float32)
    kind = FOUR_BITS.get(node.get("held_as"))
    data = data if kind is None else data.astype(kind)
    HELD[node.name] = data
    given = {} if zero_point is None or not zero_point.any() else {"offset": zero_point.astype(data.dtype)}
    return mb.constexpr_blockwise_shift_scale(data=data, scale=scale, **given)


def _spread(array: np.ndarray, data: np.ndarray, node: Node) -> np.ndarray:
    """Give scales or zero points the rank of the weight: one for a tensor, for each channel or for each block."""
    if array.ndim == data.ndim:
        return array  # blocks
    shape = [1] * data.ndim
    if array.ndim:
        shape[node.get("axis", 1) % data.ndim] = array.size
    return array.reshape(shape)
