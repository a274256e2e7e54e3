"""Upsample and Resize: one op since 10, with named coordinate systems since 11.

Before 11 nothing was said about coordinates. ONNX Runtime, whose numbers models of that time were made with, takes
x_original = x_resized / scale, and for nearest the floor of it when enlarging, the ceiling when shrinking
(onnxruntime/core/providers/cpu/tensor/upsample.h, NearestMode::SIMPLE; backend test resize_downsample_scales_nearest
of opset 10 agrees).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from npuopt.graph.opset_adapters import set_input
from npuopt.graph.queries import attribute, constant, is_constant

if TYPE_CHECKING:
    from npuopt.graph.opset_adapters import AdapterTable, Conversion


def scales_to_input(conversion: Conversion, node: ir.Node) -> None:
    """`scales` moves to input 1."""
    scales = conversion.take(node, "scales")
    if scales is not None:
        set_input(node, 1, conversion.constant(np.asarray(scales.as_floats(), np.float32), node))


def rename_upsample(conversion: Conversion, node: ir.Node) -> None:
    """Upsample is what Resize was in opset 10."""
    del conversion
    node.op_type = "Resize"


def name_coordinates(conversion: Conversion, node: ir.Node) -> None:
    """Resize(x, scales) -> Resize(x, , scales) with the coordinates that were meant, spelled out."""
    scales = node.inputs[1]
    node.attributes["coordinate_transformation_mode"] = ir.AttrString("coordinate_transformation_mode", "asymmetric")
    if attribute(node, "mode", "nearest") == "nearest":
        node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", _nearest_mode(conversion, node, scales))
    set_input(node, 2, scales)
    set_input(node, 1, None)


def _nearest_mode(conversion: Conversion, node: ir.Node, scales: ir.Value | None) -> str:
    known = constant(scales)
    if known is None or (known >= 1).all():
        return "floor"  # computed scales enlarge in every exporter of that time
    if (known <= 1).all():
        return "ceil"
    raise conversion.refusal(node, "it enlarges one dim and shrinks another")


def leave_out_empty_inputs(conversion: Conversion, node: ir.Node) -> None:
    """Before 13 an input that was not wanted was an empty tensor; tf_half_pixel_for_nn had a name of its own.

    floor((x + 0.5) / scale) is round_prefer_ceil((x + 0.5) / scale - 0.5).
    """
    for index, value in enumerate(node.inputs[1:], start=1):
        if value is not None and is_constant(value) and value.const_value is not None and value.const_value.size == 0:
            node.replace_input_with(index, None)
    coordinates = attribute(node, "coordinate_transformation_mode", "half_pixel")
    if coordinates != "tf_crop_and_resize":
        node.replace_input_with(1, None)
    if coordinates == "tf_half_pixel_for_nn":
        if attribute(node, "nearest_mode", "round_prefer_floor") != "floor":
            raise conversion.refusal(node, "tf_half_pixel_for_nn without nearest_mode floor is not defined")
        node.attributes["coordinate_transformation_mode"] = ir.AttrString(
            "coordinate_transformation_mode", "half_pixel"
        )
        node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", "round_prefer_ceil")


RESIZE_ADAPTERS: AdapterTable = {
    ("Upsample", 9): scales_to_input,
    ("Upsample", 10): rename_upsample,
    ("Resize", 11): name_coordinates,
    ("Resize", 13): leave_out_empty_inputs,
}
