"""Ops whose meaning changed while their inputs mostly stayed.

BatchNormalization in 9 and 14, Scan in 9, Scatter in 11, the Softmax family in 13, RoiAlign in 16, GridSample in 20,
GroupNormalization in 21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from npuopt.graph.queries import attribute, constant, dims

if TYPE_CHECKING:
    from npuopt.graph.opset_adapters import AdapterTable, Conversion


def flatten_softmax(conversion: Conversion, node: ir.Node) -> None:
    """Before 13 the data was seen as a matrix: all dims from `axis` (default 1) on were one.

    Softmax(x, axis=a) -> Reshape(Softmax(Flatten(x, axis=a), axis=-1), Shape(x)), or, where a is the only dim from
    there on that is not 1, just Softmax(x, axis=a).
    """
    axis_attr = conversion.take(node, "axis")
    axis = 1 if axis_attr is None else axis_attr.as_int()
    data = node.inputs[0]
    shape = dims(data)
    if shape is not None and all(dim == 1 for dim in shape[axis:][1:]):
        node.attributes["axis"] = ir.AttrInt64("axis", axis)
        return
    edit = conversion.edit
    flat = edit.emit("Flatten", [data], {"axis": axis}, before=node)
    result = edit.emit(node.op_type, [flat], {"axis": -1}, before=node)
    edit.replace_node(node, edit.emit("Reshape", [result, edit.emit("Shape", [data], before=node)], before=node))


def normalize_each_activation(conversion: Conversion, node: ir.Node) -> None:
    """`spatial` = 0 had statistics for each activation and not for each channel: plain arithmetic says that.

    BatchNormalization(x, s, b, m, v) -> (x - m) / Sqrt(v + epsilon) * s + b
    """
    spatial = conversion.take(node, "spatial")
    if spatial is None or spatial.as_int() == 1:
        return
    _only_for_inference(conversion, node)
    data, scale, bias, mean, variance = node.inputs
    edit = conversion.edit
    epsilon = conversion.constant(np.asarray(attribute(node, "epsilon", 1e-5), np.float32), node)
    epsilon = edit.emit("CastLike", [epsilon, variance], before=node)
    deviation = edit.emit("Sqrt", [edit.emit("Add", [variance, epsilon], before=node)], before=node)
    centred = edit.emit("Sub", [data, mean], before=node)
    scaled = edit.emit("Mul", [edit.emit("Div", [centred, deviation], before=node), scale], before=node)
    edit.replace(node.outputs[0], edit.emit("Add", [scaled, bias], before=node))
    edit.erase(node)


def refuse_training(conversion: Conversion, node: ir.Node) -> None:
    """Before 14 more than one output meant training; since then `training_mode` says so."""
    _only_for_inference(conversion, node)
    node.resize_outputs(1)


def _only_for_inference(conversion: Conversion, node: ir.Node) -> None:
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        raise conversion.refusal(node, "it is in training mode")


def refuse_batched_scan(conversion: Conversion, node: ir.Node) -> None:
    """In opset 8 Scan ran over a batch, with lengths for each item."""
    raise conversion.refusal(node, "Scan had a batch dimension before opset 9")


def rename_scatter(conversion: Conversion, node: ir.Node) -> None:
    """Scatter got the name ScatterElements."""
    del conversion
    node.op_type = "ScatterElements"


def keep_roi_align_pixels(conversion: Conversion, node: ir.Node) -> None:
    """The default became half_pixel; what it was before is now called output_half_pixel."""
    del conversion
    node.attributes["coordinate_transformation_mode"] = ir.AttrString(
        "coordinate_transformation_mode", "output_half_pixel"
    )


def rename_grid_sample_modes(conversion: Conversion, node: ir.Node) -> None:
    """Bilinear and bicubic are now called linear and cubic, as they work in 3-D too."""
    mode = conversion.take(node, "mode")
    old = "bilinear" if mode is None else mode.as_string()
    node.attributes["mode"] = ir.AttrString("mode", {"bilinear": "linear", "bicubic": "cubic"}.get(old, old))


def repeat_group_parameters(conversion: Conversion, node: ir.Node) -> None:
    """Scale and bias held one number for each group; now they hold one for each channel."""
    groups = attribute(node, "num_groups", 1)
    shape = dims(node.inputs[0])
    channels = None if shape is None or len(shape) < 2 else shape[1]
    if not isinstance(channels, int) or groups < 1 or channels % groups:
        raise conversion.refusal(node, "its number of channels is not known, or no multiple of num_groups")
    for index in (1, 2):
        node.replace_input_with(index, _repeated(conversion, node, index, channels // groups))


def _repeated(conversion: Conversion, node: ir.Node, index: int, times: int) -> ir.Value:
    parameter = node.inputs[index]
    array = constant(parameter)
    if array is not None:
        return conversion.constant(np.repeat(array, times), node)
    edit = conversion.edit
    column = edit.emit("Unsqueeze", [parameter, conversion.integers([1], node)], before=node)
    table = edit.emit("Expand", [column, conversion.integers([1, times], node)], before=node)
    return edit.emit("Reshape", [table, conversion.integers([-1], node)], before=node)


MEANING_ADAPTERS: AdapterTable = {
    ("Softmax", 13): flatten_softmax,
    ("LogSoftmax", 13): flatten_softmax,
    ("Hardmax", 13): flatten_softmax,
    ("BatchNormalization", 9): normalize_each_activation,
    ("BatchNormalization", 14): refuse_training,
    ("Scan", 9): refuse_batched_scan,
    ("Scatter", 11): rename_scatter,
    ("RoiAlign", 16): keep_roi_align_pixels,
    ("GridSample", 20): rename_grid_sample_modes,
    ("GroupNormalization", 21): repeat_group_parameters,
}
