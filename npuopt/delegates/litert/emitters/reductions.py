"""Reductions over axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.delegates.litert.context import Result
from npuopt.delegates.litert.emitters.means import folded_mean, folds
from npuopt.delegates.litert.values import Held, Order, channels_last, plain, shape_of
from npuopt.graph import attribute, attribute_list, integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.delegates.litert.context import Context
    from npuopt.delegates.litert.step import Emitter, Step

REDUCTIONS = {
    "GlobalAveragePool": "MEAN",
    "GlobalMaxPool": "REDUCE_MAX",
    "ReduceMax": "REDUCE_MAX",
    "ReduceMean": "MEAN",
    "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
    "ReduceSum": "SUM",
}
IMAGE_RANK = 4
ONE_ENCODING = frozenset({"REDUCE_MAX", "REDUCE_MIN"})


def reduction(step: Step, context: Context) -> None:
    """Write a reduction over constant axes."""
    pools = step.node.op_type.startswith("Global")
    # compilers for NPUs take means over rows and columns, not over channels
    images = pools and len(shape_of(step.input(0))) == IMAGE_RANK
    x = context.read(step.input(0), channels_last(IMAGE_RANK) if images else None)
    name = REDUCTIONS[step.node.op_type]
    axes = axes_of(step, x)
    keep = pools or attribute(step.node, "keepdims", 1) != 0
    order = x.order if keep else without(x.order, axes)
    if not axes:
        context.bind(step.output, x)
        return
    if name == "MEAN" and keep and folds(step, context, x, axes):
        folded_mean(step, context, x)
        return
    places = context.integer_list(sorted(x.axis(axis) for axis in axes), "axes")
    encoding = x.encoding if name in ONE_ENCODING else None
    context.emit(name, [x.index, places], Result(step.output, order, encoding), keepDims=keep)


def axes_of(step: Step, x: Held) -> list[int]:
    """Return which axes of the ONNX value a node reduces."""
    if step.node.op_type.startswith("Global"):
        return list(range(2, x.rank))
    axes = integers(step.optional(1)) if step.optional(1) is not None else attribute_list(step.node, "axes")
    if axes is None:
        raise step.refusal("its axes are known at run time only")
    if not axes:
        return [] if attribute(step.node, "noop_with_empty_axes", 0) else list(range(x.rank))
    return [axis % x.rank for axis in axes]


def without(order: Order, axes: Sequence[int]) -> Order:
    """Return an order of axes without some of them."""
    kept = [axis for axis in order if axis not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)


def arg_extreme(step: Step, context: Context) -> None:
    """Write an ArgMax or ArgMin, and a RESHAPE where the axis is kept."""
    if attribute(step.node, "select_last_index", 0):
        raise step.refusal("select_last_index")
    x = context.read(step.input(0))
    axis = attribute(step.node, "axis", 0) % x.rank
    name = "ARG_MAX" if step.node.op_type == "ArgMax" else "ARG_MIN"
    place = context.constant(np.array(x.axis(axis), np.int32), "axis")
    if not attribute(step.node, "keepdims", 1):
        context.emit(
            name, [x.index, place], Result(step.output, without(x.order, [axis])), outputType=INT64, kind=x.dtype
        )
        return
    order = without(x.order, [axis])
    shape = tuple(size for at, size in enumerate(x.shape) if x.order[at] != axis)
    index = context.flat.add(f"{step.output.name}_reduced", shape, "int64")
    context.operator(name, [x.index, place], [index], x.dtype, outputType=INT64)
    reduced = context.reorder(Held(index, shape, "int64", None, order), plain(len(shape)))
    made = shape_of(step.output)
    inputs = [reduced.index, context.integer_list(made, "shape")]
    context.emit("RESHAPE", inputs, Result(step.output, plain(len(made))), newShape=made)


def cumulative_sum(step: Step, context: Context) -> None:
    """Write a CumSum."""
    x = context.read(step.input(0))
    axis = integers(step.input(1))
    if axis is None:
        raise step.refusal("its axis is known at run time only")
    place = context.constant(np.array(x.axis(axis[0]), np.int32), "axis")
    context.emit(
        "CUMSUM",
        [x.index, place],
        Result(step.output, x.order),
        exclusive=attribute(step.node, "exclusive", 0) != 0,
        reverse=attribute(step.node, "reverse", 0) != 0,
    )


INT64 = 4
"""Code of the schema's TensorType."""

EMITTERS: dict[str, Emitter] = {
    **dict.fromkeys(REDUCTIONS, reduction),
    "ArgMax": arg_extreme,
    "ArgMin": arg_extreme,
    "CumSum": cumulative_sum,
}
