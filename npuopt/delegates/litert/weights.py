"""Weights and biases: constants that TFLite's products want in forms of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.delegates.litert.flat import Encoding
from npuopt.delegates.litert.values import dequantizer, encoding_of, numbers
from npuopt.errors import InputError
from npuopt.graph import input_at, is_constant

if TYPE_CHECKING:
    from npuopt.delegates.litert.context import Context
    from npuopt.delegates.litert.values import Held, Order
    from npuopt.graph import Value

HYBRID_TYPES = ("int8", "int4")
"""Weights that TFLite's hybrid kernels multiply with float activations, which they round to 8 bits on the way."""
BIAS_TYPES = {"int8": np.int32, "int16": np.int64}


def is_known(value: Value) -> bool:
    """Say whether a value is a constant, or one read from integer constants."""
    maker = dequantizer(value)
    return is_constant(value) or (maker is not None and is_constant(input_at(maker, 0)))


def weight(context: Context, value: Value, order: Order) -> Held:
    """Return the tensor of a weight: integers beside integers, and beside floats where hybrid kernels take them."""
    maker = dequantizer(value)
    if context.integers or maker is None:
        return context.read(value, order)
    stored = context.stored(value, order)
    encoding = stored.encoding
    symmetric = encoding is not None and not any(encoding.zero_points)
    if stored.dtype in HYBRID_TYPES and symmetric and encoding is not None and encoding.axis == channel_at(order):
        return stored
    return context.read(value, order)


def channel_at(order: Order) -> int:
    """Return where a stored weight has its output channels: last in a depthwise one."""
    return len(order) - 1 if order == (1, 2, 3, 0) else 0


def float_numbers(value: Value) -> np.ndarray:
    """Return the numbers of a constant, or of integers that a DequantizeLinear reads."""
    maker = dequantizer(value)
    source = input_at(maker, 0) if maker is not None else None
    if maker is None or source is None:
        return numbers(value).astype(np.float32)
    encoding = encoding_of(maker)
    integers = numbers(source).astype(np.float64)
    scales, zeros = np.array(encoding.scales), np.array(encoding.zero_points)
    if not encoding.per_tensor:
        shape = [-1 if axis == encoding.axis else 1 for axis in range(integers.ndim)]
        scales, zeros = scales.reshape(shape), zeros.reshape(shape)
    return ((integers - zeros) * scales).astype(np.float32)


def bias(context: Context, value: Value | None, x: Held, kernel: Held, channels: int) -> int:
    """Return the tensor of a bias in units of the products that it is added to, of zeros where there is none."""
    array = np.zeros(channels, np.float32) if value is None else float_numbers(value).reshape(-1)
    name = "bias" if value is None else value.name or "bias"
    if array.size not in (1, channels):
        raise InputError(f"a bias of {array.size} numbers for {channels} channels", where=name)
    array = np.broadcast_to(array, (channels,))
    if x.encoding is None or kernel.encoding is None:
        return context.constant(np.ascontiguousarray(array, np.float32), name)
    kind = BIAS_TYPES[x.dtype]
    scales = np.float32(x.encoding.scale) * np.array(kernel.encoding.scales, np.float32)
    limits = np.iinfo(np.int32)  # also of 64-bit biases: more than 32 bits of a sum are never needed
    rounded = np.clip(np.rint(array.astype(np.float64) / scales.astype(np.float64)), limits.min, limits.max)
    encoding = Encoding(tuple(float(scale) for scale in scales), (0,) * len(scales))
    return context.constant(rounded.astype(kind), name, encoding)
