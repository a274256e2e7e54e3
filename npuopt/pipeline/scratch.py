"""One node as a model of its own, and what makes two nodes equal to a lowering."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from npuopt.graph import input_at, is_constant

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.graph import Model, Node, Value

SMALL = 64
"""Elements up to which a constant's values are part of a node's signature: axes, bounds, exponents, split sizes."""


def one_node_model(node: Node, model: Model, on_read: Callable[[], None] | None = None) -> Model:
    """Return a model that holds a copy of `node` alone, with its constants (shared) and typed inputs.

    Its outputs are those of the node's that anybody reads.

    Args:
        node: the node to copy.
        model: the model it stands in.
        on_read: called when somebody looks at the numbers of a constant that `signature` leaves out.
    """
    copies: dict[int, Value] = {}
    for value in node.inputs:
        if value is not None and id(value) not in copies:
            tensor = value.const_value if is_constant(value) else None
            if tensor is not None and tensor.size > SMALL and on_read is not None:
                tensor = _watched(tensor, on_read)
            copies[id(value)] = ir.Value(name=value.name, shape=value.shape, type=value.type, const_value=tensor)
    outputs = [ir.Value(name=value.name, shape=value.shape, type=value.type) for value in node.outputs]
    copy = ir.Node(
        node.domain,
        node.op_type,
        [None if value is None else copies[id(value)] for value in node.inputs],
        list(node.attributes.values()),
        overload=node.overload,
        outputs=outputs,
        name=node.name,
    )
    constants = [value for value in copies.values() if value.const_value is not None]
    graph = ir.Graph(
        [value for value in copies.values() if value.const_value is None],
        [copied for copied, value in zip(outputs, node.outputs, strict=True) if _is_read(value)],
        nodes=[copy],
        initializers=constants,
        opset_imports=dict(model.opset_imports),
        name="scratch",
    )
    return ir.Model(graph, ir_version=model.ir_version)


def signature(node: Node) -> tuple[object, ...]:
    """Return what a lowering and a target can see of a node, as a hashable key, but the numbers of large constants."""
    attributes = tuple(sorted((name, _attribute(attr)) for name, attr in node.attributes.items()))
    inputs = tuple(_input(input_at(node, index)) for index in range(len(node.inputs)))
    repeated = tuple(node.inputs.index(value) for value in node.inputs)
    outputs = tuple((str(value.type), str(value.shape), _is_read(value)) for value in node.outputs)
    return node.domain, node.op_type, attributes, inputs, repeated, outputs


def _is_read(value: Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _attribute(attr: ir.Attr) -> str:
    return repr(attr.as_tensor().numpy().tolist()) if attr.type == ir.AttributeType.TENSOR else str(attr.value)


def _input(value: Value | None) -> tuple[object, ...]:
    if value is None:
        return ()
    tensor = value.const_value if is_constant(value) else None
    content = repr(tensor.numpy().tolist()) if tensor is not None and tensor.size <= SMALL else None
    return str(value.type), str(value.shape), tensor is not None, content


def _watched(tensor: ir.TensorProtocol, on_read: Callable[[], None]) -> ir.TensorProtocol:
    def read() -> ir.TensorProtocol:
        on_read()
        return tensor

    return ir.LazyTensor(read, tensor.dtype, ir.Shape(tensor.shape.numpy()), name=tensor.name)
