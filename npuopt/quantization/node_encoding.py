"""The encoding that one QuantizeLinear or DequantizeLinear holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from pydantic import ValidationError

from npuopt.errors import InputError
from npuopt.graph import attribute, constant, input_at, label, rank
from npuopt.quantization.arithmetic import STORAGE
from npuopt.quantization.encodings import Encoding

if TYPE_CHECKING:
    from npuopt.graph import Node
    from npuopt.quantization.arithmetic import IntegerType

TYPES: dict[np.dtype, IntegerType] = {storage: name for name, storage in STORAGE.items()}


def encoding_at(node: Node) -> Encoding | str:
    """Return the encoding that a QuantizeLinear or DequantizeLinear holds, or why it is none of those there are.

    Raises:
        InputError: when a scale is not positive and finite, or a zero point outside its type.
    """
    stored = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
    kind = None if stored is None or stored.dtype is None else TYPES.get(stored.dtype.numpy())
    if kind is None:
        return "its integers are of a type that has no encoding"
    if attribute(node, "block_size", 0):
        return "it is quantized in blocks"
    scale, zero_value = constant(input_at(node, 1)), input_at(node, 2)
    zero_point = np.zeros((), np.int64) if zero_value is None else constant(zero_value)
    if scale is None or zero_point is None:
        return "its scale or zero point is given at run time"
    if scale.dtype != np.float32:
        return f"its scale is {scale.dtype.name}; float32 is followed"
    depth = rank(node.inputs[0])
    axis = attribute(node, "axis", 1)
    if scale.size > 1 and (scale.ndim > 1 or depth is None):
        return "its scales have more than one axis, or its input is of unknown rank"
    held = {
        "dtype": kind,
        "scale": tuple(scale.reshape(-1).tolist()),
        "zero_point": tuple(zero_point.astype(np.int64).reshape(-1).tolist()),
        "axis": None if scale.size == 1 else axis % cast("int", depth),
    }
    try:
        found = Encoding.model_validate(held)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{'.'.join(map(str, first['loc'])) or 'encoding'}: {first['msg']}", where=f"node {label(node)}"
        ) from error
    return _with_one_zero_point(found)


def _with_one_zero_point(encoding: Encoding) -> Encoding:
    """Return the encoding with one zero point where all its channels have the same."""
    if len(set(encoding.zero_point)) > 1:
        return encoding
    return encoding.model_copy(update={"zero_point": encoding.zero_point[:1]})
