"""Types and shapes: of one new node at once, of a whole model on a proto without weights.

`ir.to_proto` tries one protocol class after the other (0.2 ms a call); the `ir.serde` functions do not.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import onnx
import onnx.shape_inference
import onnx_ir as ir

from npuopt.errors import InputError
from npuopt.graph.headers import SMALL_CONSTANT, graph_protos, header_proto
from npuopt.graph.queries import STANDARD_DOMAINS, graphs_of, is_constant, nodes, rank
from npuopt.graph.stand_ins import has_stand_in, stand_in

if TYPE_CHECKING:
    from collections.abc import Hashable

MOST_FLOATS = 64
"""Elements up to which a constant that is not of integers can say something of a shape: the factors of a Resize."""

MOST_REMEMBERED = 4096
"""Nodes of which it is remembered what their outputs are."""

PLAIN = frozenset(
    {
        *(ir.AttributeType.INT, ir.AttributeType.FLOAT, ir.AttributeType.STRING),
        *(ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS),
    }
)

_REMEMBERED: dict[Hashable, tuple[onnx.TypeProto | None, ...]] = {}


def infer_shapes(model: ir.Model, *, forget: bool = False) -> None:
    """Fill in the types and shapes of every value, from the inputs' shapes and the small constants.

    Shape arithmetic is followed through (data propagation), subgraphs included. What is known already is kept, dim by
    dim, unless inference knows more. Those of ONNX Runtime's ops whose shapes are known here are inferred too; ops of
    other domains and whatever no schema infers stay as they are.

    Args:
        model: changed in place; no weight is read.
        forget: first drop what is noted of the values that standard ops make, as after dims were frozen: notes made
            for other dims would stand against what now holds. Where inference then finds no shape, only type and
            rank come back.

    Raises:
        InputError: when the model's own notes contradict each other so that inference gives up.
    """
    notes = _forget(model) if forget else []
    header = header_proto(model)
    drop_defaults(header.graph)
    note_shapes(model, inferred_proto(header))
    for value, old_type, old_rank in notes:
        if value.type is None:
            value.type = old_type
        if value.shape is None and old_rank is not None:
            value.shape = ir.Shape([None] * old_rank)


def inferred_proto(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the proto with the types and shapes of all that inference finds; external data is not read.

    Args:
        proto: for inference only, as some nodes change into others that make the same types and shapes.

    Raises:
        InputError: when the model's own notes contradict each other so that inference gives up.
    """
    stand_in(proto)
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError) as error:
        raise InputError(f"shape inference fails: {' '.join(str(error).split())[:400]}") from None


def note_shapes(model: ir.Model, inferred: onnx.ModelProto) -> None:
    """Take over what `inferred`, a proto of the model, says of values that nodes make, where it says more.

    A noted size that `inferred` contradicts is forgotten, but for what the graph declares of its outputs.
    """
    for graph, proto in zip(graphs_of(model), graph_protos(inferred.graph), strict=True):
        found = {info.name: info.type for info in (*proto.value_info, *proto.output)}
        for node in graph:
            for output in node.outputs:
                if output.name not in found:
                    continue
                if output.type is None and output.shape is None:
                    output.type, output.shape = _read_type(found[output.name])
                    continue
                if not output.is_graph_output() and _contradicts(output, found[output.name]):
                    output.shape = None
                if not _is_settled(output):
                    _note(output, found[output.name])


def _forget(model: ir.Model) -> list[tuple[ir.Value, ir.TypeProtocol | None, int | None]]:
    """Drop types and shapes of what inference will tell; return the values with their old types and ranks."""
    notes: list[tuple[ir.Value, ir.TypeProtocol | None, int | None]] = []
    for node in nodes(model):
        if _is_inferred(node):
            for output in node.outputs:
                notes.append((output, output.type, rank(output)))
                output.type = None
                output.shape = None
    return notes


def _is_inferred(node: ir.Node | onnx.NodeProto) -> bool:
    return node.domain in STANDARD_DOMAINS or has_stand_in(node.domain, node.op_type)


def _contradicts(value: ir.Value, proto: onnx.TypeProto) -> bool:
    """Say whether `proto` has another rank, or another number for a dim, than what is noted of the value."""
    if value.shape is None or not proto.tensor_type.HasField("shape"):
        return False
    dims = proto.tensor_type.shape.dim
    pairs = zip(value.shape, dims, strict=False)
    return len(dims) != len(value.shape) or any(
        isinstance(mine, int) and dim.HasField("dim_value") and dim.dim_value != mine for mine, dim in pairs
    )


def drop_notes(graph: onnx.GraphProto) -> None:
    """Take off a graph's value infos what they say of values that inference will tell."""
    made = {name for node in graph.node if _is_inferred(node) for name in node.output}
    kept = [info for info in graph.value_info if info.name not in made]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def drop_defaults(graph: onnx.GraphProto) -> None:
    """Take the values out of inputs that have one by default: inference would take them for constants."""
    inputs = {value.name for value in graph.input}
    constants = [tensor for tensor in graph.initializer if tensor.name not in inputs]
    if len(constants) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(constants)


def infer_node(node: ir.Node, opset: int) -> None:
    """Fill in the types and shapes of a node's outputs from those of its inputs, as far as the schema says.

    Ops of other domains, control flow and inputs of unknown type leave the outputs as they were. What was found is
    remembered: most nodes of a model have others like them.
    """
    if node.domain not in STANDARD_DOMAINS or any(value is not None and value.type is None for value in node.inputs):
        return
    key = _signature(node, opset)
    found = None if key is None else _REMEMBERED.get(key)
    if found is None:
        found = _inferred_outputs(node, opset)
        if key is not None:
            if len(_REMEMBERED) >= MOST_REMEMBERED:
                _REMEMBERED.clear()
            _REMEMBERED[key] = found
    for output, inferred in zip(node.outputs, found, strict=False):
        if inferred is not None:
            _note(output, inferred)


def _signature(node: ir.Node, opset: int) -> Hashable | None:
    """Return all that inference can see of a node but names, or None where that is too much to compare."""
    attributes: list[Hashable] = []
    for attr in node.attributes.values():
        if attr.type not in PLAIN or attr.is_ref():
            return None
        attributes.append((attr.name, attr.type, repr(attr.value)))
    inputs: list[Hashable] = []
    for value in node.inputs:
        if value is None:
            inputs.append(None)
            continue
        if not isinstance(value.type, ir.TensorType) or value.type.denotation:
            return None
        shape = (
            None if value.shape is None else tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)
        )
        tensor = _small_constant(value)
        inputs.append((value.type.dtype, shape, None if tensor is None else (tensor.dtype, tensor.tobytes())))
    return node.op_type, opset, tuple(attributes), tuple(inputs), tuple(bool(output.name) for output in node.outputs)


def _small_constant(value: ir.Value) -> ir.TensorProtocol | None:
    tensor = value.const_value
    if tensor is None or not is_constant(value) or tensor.dtype == ir.DataType.STRING:
        return None
    return tensor if tensor.size <= (SMALL_CONSTANT if tensor.dtype.is_integer() else MOST_FLOATS) else None


def _inferred_outputs(node: ir.Node, opset: int) -> tuple[onnx.TypeProto | None, ...]:
    if any(attr.type == ir.AttributeType.GRAPH for attr in node.attributes.values()):
        return ()
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return ()
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    for value in node.inputs:
        if value is not None and value.name is not None:
            types[value.name] = ir.serde.serialize_value(value).type
            if (tensor := _small_constant(value)) is not None:
                data[value.name] = ir.serde.serialize_tensor(tensor)
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            schema, ir.serde.serialize_node(node), types, data, opset_imports=[onnx.helper.make_opsetid("", opset)]
        )
    except (onnx.shape_inference.InferenceError, RuntimeError):
        return ()  # the checker, run after each pass, says what is wrong with the node itself
    return tuple(inferred.get(output.name or "") for output in node.outputs)


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


def _is_settled(value: ir.Value) -> bool:
    return value.type is not None and value.shape is not None and value.shape.is_static()


def _read_type(proto: onnx.TypeProto) -> tuple[ir.TypeProtocol | None, ir.Shape | None]:
    """Read a type; that of a tensor here, as the general way takes several times as long."""
    tensor = proto.tensor_type
    if not proto.HasField("tensor_type") or proto.denotation or not tensor.elem_type:
        return ir.serde.deserialize_type_proto_for_type(proto), ir.serde.deserialize_type_proto_for_shape(proto)
    dims = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in tensor.shape.dim]
    return ir.TensorType(ir.DataType(tensor.elem_type)), ir.Shape(dims) if tensor.HasField("shape") else None


def _note(value: ir.Value, proto: onnx.TypeProto) -> None:
    """Add what `proto` says to what is known of the value, dim by dim."""
    inferred_type, shape = _read_type(proto)
    if inferred_type is not None:
        value.type = inferred_type
    if shape is None:
        return
    if value.shape is None:
        value.shape = shape
    elif len(value.shape) == len(shape):
        known = [_better(mine, found) for mine, found in zip(value.shape, shape, strict=True)]
        value.shape = ir.Shape(known)
