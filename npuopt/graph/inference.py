"""Types and shapes: of one new node at once, of a whole model on a proto without weights.

`ir.to_proto` tries one protocol class after the other (0.2 ms a call); the `ir.serde` functions do not.
"""

from __future__ import annotations

import copy

import onnx
import onnx.shape_inference
import onnx_ir as ir

from npuopt.graph.headers import SMALL_CONSTANT, header_proto
from npuopt.graph.queries import is_constant


def infer_shapes(model: ir.Model) -> None:
    """Fill in the types and shapes of every value, from the inputs' shapes and the small constants.

    Shape arithmetic is followed through (data propagation). What is known already is kept, unless inference knows
    more. Ops of other domains and whatever no schema infers stay as they are.
    """
    inferred = ir.from_proto(onnx.shape_inference.infer_shapes(header_proto(model), data_prop=True))
    for graph, inferred_graph in zip(model.graphs(), inferred.graphs(), strict=True):
        known = {output.name: output for node in inferred_graph for output in node.outputs}
        for node in graph:
            for output in node.outputs:
                source = known.get(output.name)
                if source is None:
                    continue
                if source.type is not None:
                    output.type = source.type
                if source.shape is not None:
                    output.shape = source.shape.copy()


def infer_node(node: ir.Node, opset: int) -> None:
    """Fill in the types and shapes of a node's outputs from those of its inputs, as far as the schema says.

    Ops of other domains, control flow and inputs of unknown type leave the outputs as they were.
    """
    if node.domain not in ("", "ai.onnx") or any(
        attr.type == ir.AttributeType.GRAPH for attr in node.attributes.values()
    ):
        return
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    for value in node.inputs:
        if value is None or value.name is None:
            continue
        if value.type is None:
            return
        types[value.name] = _type_proto(value)
        tensor = value.const_value
        if tensor is not None and is_constant(value) and tensor.size <= SMALL_CONSTANT:
            data[value.name] = ir.serde.serialize_tensor(tensor)
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            schema, ir.serde.serialize_node(node), types, data, opset_imports=[onnx.helper.make_opsetid("", opset)]
        )
    except (onnx.shape_inference.InferenceError, RuntimeError):
        return  # the checker, run after each pass, says what is wrong with the node itself
    for output in node.outputs:
        if output.name in inferred:
            _set_type(output, inferred[output.name])


def learn(value: ir.Value, same: ir.Value) -> None:
    """Give `value` what is known of `same`, which holds the same numbers, and not yet of itself."""
    if value.type is None:
        value.type = copy.copy(same.type)
    if same.shape is None:
        return
    if value.shape is None:
        value.shape = same.shape.copy()
    elif len(value.shape) == len(same.shape):
        known = [_better(mine, theirs) for mine, theirs in zip(value.shape, same.shape, strict=True)]
        if known != list(value.shape):
            value.shape = ir.Shape(known)


def _better(mine: int | ir.SymbolicDim, theirs: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
    """Return what says more of one dim: a number, then a name, then nothing."""
    if isinstance(mine, int):
        return mine
    return theirs if isinstance(theirs, int) or mine.value is None else mine


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    return ir.serde.serialize_value(value).type


def _set_type(value: ir.Value, proto: onnx.TypeProto) -> None:
    inferred_type = ir.serde.deserialize_type_proto_for_type(proto)
    shape = ir.serde.deserialize_type_proto_for_shape(proto)
    if inferred_type is not None:
        value.type = inferred_type
    if shape is None or (value.shape is not None and value.shape.is_static()):
        return
    if value.shape is not None and len(value.shape) == len(shape):
        # One node alone knows less of the names of dims than the whole model did.
        shape = ir.Shape([_better(known, found) for known, found in zip(value.shape, shape, strict=True)])
    value.shape = shape
