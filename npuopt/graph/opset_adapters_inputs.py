"""Attributes that became inputs.

Slice and TopK in 10; Clip and Pad in 11; Dropout in 12; Split, Squeeze, Unsqueeze and ReduceSum in 13; the other
reductions in 18; DFT in 20.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from npuopt.graph.opset_adapters import set_input
from npuopt.graph.queries import element_type

if TYPE_CHECKING:
    from npuopt.graph.opset_adapters import AdapterTable, Conversion

REDUCTIONS = (
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
)


def axes_to_input(conversion: Conversion, node: ir.Node) -> None:
    """`axes` moves to input 1; an empty list meant all axes, which now is no input."""
    axes = conversion.take(node, "axes")
    if axes is not None and axes.as_ints():
        set_input(node, 1, conversion.integers(list(axes.as_ints()), node))


def split_to_input(conversion: Conversion, node: ir.Node) -> None:
    """`split` moves to input 1."""
    sizes = conversion.take(node, "split")
    if sizes is not None:
        set_input(node, 1, conversion.integers(list(sizes.as_ints()), node))


def count_split_outputs(conversion: Conversion, node: ir.Node) -> None:
    """Where no sizes are given, the number of parts must be."""
    del conversion
    if len(node.inputs) < 2 or node.inputs[1] is None:
        node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))


def slice_bounds_to_inputs(conversion: Conversion, node: ir.Node) -> None:
    """`starts`, `ends` and `axes` move to inputs 1, 2 and 3."""
    for index, name in enumerate(("starts", "ends", "axes"), start=1):
        bounds = conversion.take(node, name)
        if bounds is not None:
            set_input(node, index, conversion.integers(list(bounds.as_ints()), node))


def top_k_to_input(conversion: Conversion, node: ir.Node) -> None:
    """`k` moves to input 1, a vector of one element."""
    count = conversion.take(node, "k")
    if count is not None:
        set_input(node, 1, conversion.integers([count.as_int()], node))


def pads_to_inputs(conversion: Conversion, node: ir.Node) -> None:
    """`pads` and `value` move to inputs 1 and 2; the value takes the data's type."""
    pads, value = conversion.take(node, "pads"), conversion.take(node, "value")
    if pads is not None:
        set_input(node, 1, conversion.integers(list(pads.as_ints()), node))
    if value is not None:
        set_input(node, 2, _as_type_of_data(conversion, value.as_float(), node))


def bounds_to_inputs(conversion: Conversion, node: ir.Node) -> None:
    """`min` and `max` move to inputs 1 and 2; without them there is no bound but the type's own."""
    for index, name in enumerate(("min", "max"), start=1):
        bound = conversion.take(node, name)
        if bound is not None:
            set_input(node, index, _as_type_of_data(conversion, bound.as_float(), node))


def forget_ratio(conversion: Conversion, node: ir.Node) -> None:
    """`ratio` matters in training only, and a Dropout without `training_mode` does not train.

    Before 10 the mask had the data's type; since then it is boolean.
    """
    conversion.take(node, "ratio")
    mask = node.outputs[1] if len(node.outputs) > 1 else None
    if conversion.source < 10 and mask is not None and (mask.uses() or mask.is_graph_output()):
        raise conversion.refusal(node, "its mask had another type before opset 10")


def dft_axis_to_input(conversion: Conversion, node: ir.Node) -> None:
    """`axis` moves to input 2, and its default from 1 to -2."""
    axis = conversion.take(node, "axis")
    set_input(node, 2, conversion.constant(np.asarray(1 if axis is None else axis.as_int(), np.int64), node))


def _as_type_of_data(conversion: Conversion, number: float, node: ir.Node) -> ir.Value:
    """Return a scalar constant of the type of the node's input 0, known or not."""
    dtype = element_type(node.inputs[0])
    if dtype is not None:
        return conversion.constant(np.asarray(number, dtype.numpy()), node)
    constant = conversion.constant(np.asarray(number, np.float32), node)
    return conversion.edit.emit("CastLike", [constant, node.inputs[0]], before=node)


INPUTS_ADAPTERS: AdapterTable = {
    ("Squeeze", 13): axes_to_input,
    ("Unsqueeze", 13): axes_to_input,
    ("ReduceSum", 13): axes_to_input,
    **{(op_type, 18): axes_to_input for op_type in REDUCTIONS},
    ("Split", 13): split_to_input,
    ("Split", 18): count_split_outputs,
    ("Slice", 10): slice_bounds_to_inputs,
    ("TopK", 10): top_k_to_input,
    ("Pad", 11): pads_to_inputs,
    ("Clip", 11): bounds_to_inputs,
    ("Dropout", 12): forget_ratio,
    ("DFT", 20): dft_axis_to_input,
}
