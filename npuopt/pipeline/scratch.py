"""One node as a model of its own, and what makes two nodes equal to a lowering."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from npuopt.graph import input_at, is_constant
from npuopt.target.views import dequantizer, is_fully_quantized, quantizers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from npuopt.graph import Model, Node, Value

SMALL = 64
"""Elements up to which a constant's values are part of a node's signature: axes, bounds, exponents, split sizes."""


@dataclass(frozen=True)
class Scratch:
    """A model of one node.

    Attributes:
        model: holds nothing but the node and what is around it.
        node: the copy.
        around: copies of the DequantizeLinear and QuantizeLinear nodes that say how the node is quantized.
        constants: how many initializers the model came with.
    """

    model: Model
    node: Node
    around: frozenset[Node]
    constants: int

    def new_nodes(self) -> list[Node]:
        """List the nodes but those around it: the copy, or what has become of it."""
        return [node for node in self.model.graph if node not in self.around]

    def is_untouched(self) -> bool:
        """Say whether nothing came in or went since the node was copied, so that the model is as good as new."""
        graph = self.model.graph
        return (
            len(graph) == len(self.around) + 1
            and self.node.graph is graph
            and len(graph.initializers) == self.constants
        )


def one_node_model(node: Node, model: Model, on_read: Callable[[], None] | None = None) -> Scratch:
    """Copy `node` into a model of its own, with its constants (shared), typed inputs, and its quantization.

    The model's outputs are those of the node's that anybody reads.

    Args:
        node: the node to copy.
        model: the model it stands in.
        on_read: called when somebody looks at the numbers of a constant that `signature` leaves out.
    """
    copies: dict[int, Value] = {}

    def copied(values: Iterable[Value | None]) -> list[Value | None]:
        for value in values:
            if value is not None and id(value) not in copies:
                copies[id(value)] = _copy(value, on_read)
        return [None if value is None else copies[id(value)] for value in values]

    makers = [maker for value in node.inputs if value is not None and (maker := dequantizer(value)) is not None]
    readers = [reader for value in node.outputs if is_fully_quantized(value) for reader in quantizers(value)]
    nodes: list[Node] = []
    for original in (*dict.fromkeys(makers), node, *dict.fromkeys(readers)):
        inputs = copied(original.inputs)
        outputs = [ir.Value(name=value.name, shape=value.shape, type=value.type) for value in original.outputs]
        copies.update((id(value), copy) for value, copy in zip(original.outputs, outputs, strict=True))
        nodes.append(_node(original, inputs, outputs))
    read = [value for value in node.outputs if _is_read(value) and not is_fully_quantized(value)]
    made = {value for copy in nodes for value in copy.outputs}
    given = [value for value in copies.values() if value not in made]
    graph = ir.Graph(
        [value for value in given if value.const_value is None],
        [copies[id(value)] for value in (*read, *(reader.outputs[0] for reader in dict.fromkeys(readers)))],
        nodes=nodes,
        initializers=[value for value in given if value.const_value is not None],
        opset_imports=dict(model.opset_imports),
        name="scratch",
    )
    copy = nodes[len(dict.fromkeys(makers))]
    around = frozenset(nodes) - {copy}
    return Scratch(ir.Model(graph, ir_version=model.ir_version), copy, around, len(graph.initializers))


def signature(node: Node) -> tuple[object, ...]:
    """Return what a lowering and a target can see of a node, as a hashable key, but the numbers of large constants."""
    repeated = tuple(node.inputs.index(value) for value in node.inputs)
    outputs = tuple(
        (str(value.type), str(value.shape), _is_read(value), _converters(value, quantizers(value)))
        for value in node.outputs
    )
    inputs = tuple(
        (_input(value), _converter(maker) if value is not None and (maker := dequantizer(value)) is not None else ())
        for value in node.inputs
    )
    return node.domain, node.op_type, _attributes(node), inputs, repeated, outputs


def _copy(value: Value, on_read: Callable[[], None] | None) -> Value:
    tensor = value.const_value if is_constant(value) else None
    if tensor is not None and tensor.size > SMALL and on_read is not None:
        tensor = _watched(tensor, on_read)
    return ir.Value(name=value.name, shape=value.shape, type=value.type, const_value=tensor)


def _node(node: Node, inputs: list[Value | None], outputs: list[Value]) -> Node:
    return ir.Node(
        node.domain,
        node.op_type,
        inputs,
        list(node.attributes.values()),
        overload=node.overload,
        outputs=outputs,
        name=node.name,
    )


def _is_read(value: Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _attributes(node: Node) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, _attribute(attr)) for name, attr in node.attributes.items()))


def _attribute(attr: ir.Attr) -> str:
    return repr(attr.as_tensor().numpy().tolist()) if attr.type == ir.AttributeType.TENSOR else str(attr.value)


def _input(value: Value | None) -> tuple[object, ...]:
    if value is None:
        return ()
    tensor = value.const_value if is_constant(value) else None
    content = repr(tensor.numpy().tolist()) if tensor is not None and tensor.size <= SMALL else None
    return str(value.type), str(value.shape), tensor is not None, content


def _converters(value: Value, readers: list[Node]) -> tuple[object, ...]:
    return tuple(_converter(reader) for reader in readers) if is_fully_quantized(value) else ()


def _converter(node: Node) -> tuple[object, ...]:
    return _attributes(node), tuple(_input(input_at(node, index)) for index in range(len(node.inputs)))


def _watched(tensor: ir.TensorProtocol, on_read: Callable[[], None]) -> ir.TensorProtocol:
    def read() -> ir.TensorProtocol:
        on_read()
        return tensor

    return ir.LazyTensor(read, tensor.dtype, ir.Shape(tensor.shape.numpy()), name=tensor.name)
