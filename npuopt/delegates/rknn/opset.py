"""Writes a region down to the opset that the toolkit reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from npuopt.delegates.rknn.copies import part_floats, separate_floats, separate_outputs
from npuopt.delegates.rknn.guards import give_biases, part_attention
from npuopt.delegates.rknn.spelling import spell
from npuopt.delegates.rknn.weights import shrink_scales
from npuopt.errors import VendorToolError

if TYPE_CHECKING:
    from pathlib import Path

IR_VERSION = 9
MEANS_SOMETHING_ELSE = frozenset({"DFT", "GridSample", "ReduceMax", "ReduceMin"})
"""Ops of which a version between 19 and 24 changed more than the element types it takes, or so that it shows."""


def write_down(source: Path, output: Path, opset: int) -> None:
    """Write the model `source` as one of an older opset.

    From opset 19 to 24 the ops of before got further element types and attributes, which the ONNX checker sees in the
    old schema; ops that changed otherwise are refused, and newer ones that cannot be spelled.

    Raises:
        VendorToolError: the old opset cannot say what the model says.
    """
    model = onnx.load(source)  # pyright: ignore[reportUnknownMemberType] -- os.PathLike without argument
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx") and node.op_type in MEANS_SOMETHING_ELSE:
            what = f"{node.op_type} of opset {opset} is another operator"
            raise VendorToolError(what, where=node.name, hint="take it out of the target's descriptor")
    spell(model)
    give_biases(model)
    part_attention(model)
    shrink_scales(model)
    separate_outputs(model)
    separate_floats(model)
    part_floats(model)
    for imported in model.opset_import:
        if imported.domain in ("", "ai.onnx"):
            imported.version = min(imported.version, opset)
    model.ir_version = min(model.ir_version, IR_VERSION)
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
    try:
        onnx.checker.check_model(model, full_check=True)  # pyright: ignore[reportUnknownMemberType] -- os.PathLike without argument
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        said = " ".join(str(error).split())[:300]
        raise VendorToolError(f"opset {opset} cannot say it: {said}", where=str(source)) from error
    output.write_bytes(model.SerializeToString())
