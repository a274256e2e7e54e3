"""Models on their way to a tool that reads an older opset only: written down to it, or refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx.defs
import onnx_ir as ir

from npuopt.errors import InputError
from npuopt.graph.opset_adapters_inputs import REDUCTIONS
from npuopt.graph.opset_conversion import CANONICAL_OPSET
from npuopt.graph.opset_newer import relabel_newer
from npuopt.graph.queries import STANDARD_DOMAINS, constant, element_type, label, nodes_in, rank

if TYPE_CHECKING:
    from collections.abc import Callable

OLDEST_WRITTEN = 13
"""Below it Squeeze, Split, Softmax and others mean or look different; no tool in use stops there."""
IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12}
"""Opset -> the IR version that came with it (onnx/docs/Versioning.md)."""
CONTRIB_DOMAIN = "com.microsoft"
WIDER_SINCE = 21
"""From here on the standard QuantizeLinear and DequantizeLinear have 16- and 4-bit integers; ONNX Runtime's own had
them before, and quantizers for older opsets write those."""


def write_down(model: ir.Model, version: int, where: str = "") -> None:
    """Rewrite a model of the canonical opset in `version`, in place.

    Attributes that the older opset does not have go where they are at their defaults; inputs that were attributes
    become such again; quantizers of 16 and 4 bits become ONNX Runtime's.

    Args:
        model: canonical, without subgraphs and functions, its types known.
        version: from 13 on.
        where: the file, for errors.

    Raises:
        InputError: naming the first node that has no form in that opset.
    """
    if version >= CANONICAL_OPSET:
        return
    if version < OLDEST_WRITTEN:
        raise InputError(f"models are not written in opset {version}; {OLDEST_WRITTEN} is the oldest", where=where)
    nodes = [node for node in nodes_in(model.graph) if node.domain in STANDARD_DOMAINS]
    for node in nodes:
        if (rewrite := _REWRITES.get((node.op_type, _changed_before(node.op_type, version)))) is not None:
            rewrite(node, where)
    left = [node for node in nodes if node.domain in STANDARD_DOMAINS]
    relabel_newer(left, CANONICAL_OPSET, version, where)
    model.opset_imports[""] = version
    if any(node.domain == CONTRIB_DOMAIN for node in nodes):
        model.opset_imports[CONTRIB_DOMAIN] = 1
    model.ir_version = IR_VERSIONS[version]


def _changed_before(op_type: str, version: int) -> int:
    """Return since when the op has been as it is in `version`; 0 where it does not exist there."""
    if not onnx.defs.has(op_type, version, ""):
        return 0
    return onnx.defs.get_schema(op_type, version, "").since_version


def _axes_to_attribute(node: ir.Node, where: str) -> None:
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    if axes is not None:
        array = constant(axes)
        if array is None:
            raise _refusal(node, "its axes are known at run time only", where)
        node.attributes["axes"] = ir.AttrInt64s("axes", [int(axis) for axis in array])
    node.resize_inputs(1)


def _drop_number_of_outputs(node: ir.Node, where: str) -> None:
    """Without sizes the older Split makes equal parts; the newer one may leave a smaller last one."""
    count = node.attributes.pop("num_outputs", None)
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    if count is not None and shape is not None and (not isinstance(shape[axis], int) or shape[axis] % count.as_int()):
        raise _refusal(node, "its parts are not equal and their sizes are not given", where)


def _axes_to_all_pads(node: ir.Node, where: str) -> None:
    axes = node.inputs[3] if len(node.inputs) > 3 else None
    if axes is None:
        node.resize_inputs(min(len(node.inputs), 3))
        return
    array, depth = constant(axes), rank(node.inputs[0])
    if array is None or depth is None or [int(axis) % depth for axis in array] != list(range(depth)):
        raise _refusal(node, "it pads some of its axes only", where)
    node.resize_inputs(3)


def _drop_dilations(node: ir.Node, where: str) -> None:
    dilations = node.attributes.pop("dilations", None)
    if dilations is not None and any(step != 1 for step in dilations.as_ints()):
        raise _refusal(node, "its window is dilated", where)


def _refuse_scales_of_groups(node: ir.Node, where: str) -> None:
    raise _refusal(node, "its scale and bias were of groups there, not of channels", where)


def _to_contrib_where_wide(node: ir.Node, where: str) -> None:
    """Hand 16- and 4-bit integers to ONNX Runtime's own op, which has no blocks and no output type of its own."""
    integers = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
    if element_type(integers) not in (ir.DataType.INT16, ir.DataType.UINT16, ir.DataType.INT4, ir.DataType.UINT4):
        return
    blocks = node.attributes.pop("block_size", None)
    if blocks is not None and blocks.as_int():
        raise _refusal(node, "its scales are of blocks", where)
    if len(node.inputs) < 3 or node.inputs[2] is None:
        raise _refusal(node, "it has no zero point, which alone tells its type there", where)
    for name in ("saturate", "output_dtype", "precision"):
        node.attributes.pop(name, None)
    node.domain = CONTRIB_DOMAIN


def _refusal(node: ir.Node, why: str, where: str) -> InputError:
    return InputError(f"node {label(node)!r} ({node.op_type}) has no form in an older opset: {why}", where=where)


_REWRITES: dict[tuple[str, int], Callable[[ir.Node, str], None]] = {
    **{(op_type, since): _axes_to_attribute for op_type in REDUCTIONS for since in (11, 13)},
    ("Split", 13): _drop_number_of_outputs,
    ("Pad", 13): _axes_to_all_pads,
    ("AveragePool", 11): _drop_dilations,
    ("GroupNormalization", 18): _refuse_scales_of_groups,
    **{
        (op_type, since): _to_contrib_where_wide
        for op_type in ("QuantizeLinear", "DequantizeLinear")
        for since in (13, 19)
    },
}
"""(op, version in which the op became what it is in the wanted opset) -> what makes a node fit it."""
