"""Which loop nest a Relax operator becomes: npuopt's own for float32 products and rows, TVM's for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from npuopt.delegates.host import tvm_rows
from npuopt.delegates.host.tvm_api import Builder, Call, Expression, Tensor, relax, tirx, tvm
from npuopt.delegates.host.tvm_products import (
    Shape,
    Window,
    batched_matmul,
    convolution,
    depthwise,
    ints,
    pack_columns,
    packed_matmul,
)
from npuopt.delegates.host.tvm_tiles import VectorUnit, choose_tile, padded_columns

Rule: TypeAlias = Callable[[Builder, Call], Expression]

ROWS_WORTH_PACKING = 16
"""Rows of the left side from which on a run-time right side is copied into panels first."""
REDUCTION_PATTERN, PRODUCT_PATTERN = 3, 4
"""TVM's OpPatternKind: elementwise producers join a reduction, elementwise consumers join a product."""


def static_shape(expression: Expression) -> Shape | None:
    """The shape of a Relax tensor when every dimension is known, else None."""
    shape = expression.ty.shape
    if shape is None or not all(isinstance(extent, tirx.IntImm) for extent in shape):
        return None
    return ints(shape)


def constant_value(expression: Expression) -> np.ndarray | None:
    """The array behind a Relax constant, else None."""
    return expression.value.numpy() if isinstance(expression, tvm.ir.GenericConst) else None


def legalization_rules(unit: VectorUnit) -> dict[str, Rule]:
    """Relax operator name -> legalization for one vector unit, as `LegalizeOps` takes it."""
    return {
        "relax.matmul": partial(_matmul, unit),
        "relax.nn.conv2d": partial(_convolution, unit),
        "relax.nn.softmax": partial(_softmax, unit),
        "relax.nn.layer_norm": partial(_normalization, unit, tvm_rows.layer_norm),
        "relax.nn.rms_norm": partial(_normalization, unit, tvm_rows.rms_norm),
        "relax.mean": partial(_reduction, unit, "mean"),
        "relax.sum": partial(_reduction, unit, "sum"),
        "relax.max": partial(_reduction, unit, "max"),
    }


def _matmul(unit: VectorUnit, builder: Builder, call: Call) -> Expression:
    left, right = call.args
    left_shape, right_shape = static_shape(left), static_shape(right)
    if left_shape is None or right_shape is None or not _all_float32(left, right):
        return _as_tvm_does(builder, call)
    if min(len(left_shape), len(right_shape)) < 2 or 0 in left_shape + right_shape:
        return _as_tvm_does(builder, call)
    columns = right_shape[-1]
    padded = padded_columns(columns, unit)
    tile = choose_tile(left_shape[-2], padded, unit)
    weight = constant_value(right)
    if weight is None or weight.ndim != 2:
        pack = left_shape[-2] >= ROWS_WORTH_PACKING
        return _emit(builder, partial(batched_matmul, padded=padded, tile=tile, pack=pack), "matmul", left, right)
    packed = relax.const(pack_columns(weight, padded, tile.columns))
    return _emit(builder, partial(packed_matmul, columns=columns, tile=tile), "matmul", left, packed)


def _convolution(unit: VectorUnit, builder: Builder, call: Call) -> Expression:
    """NHWC data and a constant HWIO weight; every channel by itself, or all together."""
    data, kernel = call.args
    shape, weight = static_shape(data), constant_value(kernel)
    attributes = call.attrs
    layouts = (attributes.data_layout, attributes.kernel_layout, attributes.out_layout)
    if shape is None or weight is None or layouts != ("NHWC", "HWIO", "NHWC") or not _all_float32(data):
        return _as_tvm_does(builder, call)
    window = Window(
        shape[1:3], weight.shape[:2], ints(attributes.strides), ints(attributes.padding), ints(attributes.dilation)
    )
    groups, channels, out_channels = int(attributes.groups), shape[3], weight.shape[3]
    padded = padded_columns(out_channels, unit)
    if groups == channels == out_channels:
        tile = choose_tile(window.result[1], padded, unit)
        return _emit(builder, partial(depthwise, window=window, tile=tile), "depthwise", data, kernel)
    # The columns of one tile read the same input channels, so no tile reaches over two groups.
    together = padded if groups == 1 else out_channels // groups
    if unit.lanes_for(together) == 1:
        return _as_tvm_does(builder, call)
    tile = choose_tile(window.result[0] * window.result[1], together, unit)
    packed = relax.const(pack_columns(weight, padded, tile.columns))
    kernel_of = partial(convolution, out_channels=out_channels, groups=groups, window=window, tile=tile)
    return _emit(builder, kernel_of, "conv2d", data, packed)


def _softmax(unit: VectorUnit, builder: Builder, call: Call) -> Expression:
    if not _is_of_rows(call, [call.attrs.axis]):
        return _as_tvm_does(builder, call)
    return _emit(builder, partial(tvm_rows.softmax, lanes=unit.lanes), "softmax", call.args[0])


def _normalization(unit: VectorUnit, kernel: Callable[..., Tensor], builder: Builder, call: Call) -> Expression:
    if not _is_of_rows(call, call.attrs.axes):
        return _as_tvm_does(builder, call)
    bound = partial(kernel, epsilon=float(call.attrs.epsilon), lanes=unit.lanes)
    return _emit(builder, bound, kernel.__name__, *call.args)


def _reduction(unit: VectorUnit, kind: str, builder: Builder, call: Call) -> Expression:
    if call.attrs.axis is None or not _is_of_rows(call, call.attrs.axis):
        return _as_tvm_does(builder, call)
    kernel = partial(tvm_rows.reduction, kind=kind, keep=bool(call.attrs.keepdims), lanes=unit.lanes)
    return _emit(builder, kernel, kind, call.args[0], pattern=REDUCTION_PATTERN)


def _is_of_rows(call: Call, axes: Sequence[int]) -> bool:
    """Whether a float32 operator works along the last axis alone, and there are rows."""
    shape = static_shape(call.args[0])
    if shape is None or len(shape) < 2 or 0 in shape or not _all_float32(call.args[0]):
        return False
    return [int(axis) % len(shape) for axis in axes] == [len(shape) - 1]


def _emit(
    builder: Builder,
    kernel: Callable[..., Tensor],
    name: str,
    *operands: Expression,
    pattern: int = PRODUCT_PATTERN,
) -> Expression:
    return builder.call_te(kernel, *operands, primfunc_name_hint=name, primfunc_attrs={"op_pattern": pattern})


def _all_float32(*tensors: Expression) -> bool:
    return all(str(tensor.ty.dtype) == "float32" for tensor in tensors)


def _as_tvm_does(builder: Builder, call: Call) -> Expression:
    return call.op.get_attr("FLegalize")(builder, call)
