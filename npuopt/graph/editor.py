"""The verbs that change a graph. Passes edit through an Editor and through nothing else."""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING, cast

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir

from npuopt.graph.inference import infer_node, learn
from npuopt.graph.origins import carry_origins
from npuopt.graph.queries import STANDARD_DOMAINS, graphs_of, is_op, opset, subgraphs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from enum import Enum

    AttributeLike = int | float | str | Sequence[int] | Sequence[float] | Sequence[str] | ir.Attr | None


_FOUR_BITS = (np.dtype(ml_dtypes.int4), np.dtype(ml_dtypes.uint4))


class Editor:
    """Edits one model and keeps its promises.

    New names never collide, new values get their type and shape at once, and a graph output keeps its name,
    whichever value comes to produce it.
    """

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._opset = opset(model)
        self._counters: dict[str, int] = {}

    @cached_property
    def _names(self) -> set[str]:
        """Every name in the model; gathered when the first new one is wanted, as most passes find nothing to do."""
        return _names_in(self.model)

    def emit(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, AttributeLike] | None = None,
        *,
        before: ir.Node,
        name: str = "",
        domain: str = "",
    ) -> ir.Value:
        """Insert a one-output node ahead of `before` and return its output, typed and shaped.

        Args:
            op_type: the op's name.
            inputs: None for an optional input that is left out.
            attributes: plain Python values; an attribute whose value is None is left out.
            before: the new node goes into this node's graph, just ahead of it.
            name: what to derive the names from; `before`'s name when empty.
            domain: the op's domain.
        """
        return self.emit_many(op_type, inputs, attributes, before=before, outputs=1, name=name, domain=domain)[0]

    def emit_after(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, AttributeLike] | None = None,
        *,
        after: ir.Node,
        name: str = "",
    ) -> ir.Value:
        """Insert a standard one-output node just behind `after`; else as `emit`."""
        if after.graph is None:
            raise ValueError(f"{after.name} is in no graph")
        node = self._new_node(op_type, inputs, attributes or {}, 1, name or after.name or op_type, "")
        after.append(node)
        infer_node(node, self._opset)
        return node.outputs[0]

    def emit_many(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, AttributeLike] | None = None,
        *,
        before: ir.Node,
        outputs: int,
        name: str = "",
        domain: str = "",
    ) -> tuple[ir.Value, ...]:
        """Insert a node with several outputs ahead of `before`; else as `emit`."""
        if before.graph is None:
            raise ValueError(f"{before.name} is in no graph")
        node = self._new_node(op_type, inputs, attributes or {}, outputs, name or before.name or op_type, domain)
        before.prepend(node)
        infer_node(node, self._opset)
        return tuple(node.outputs)

    def constant(self, array: np.ndarray, *, near: ir.Node, name: str = "") -> ir.Value:
        """Add an initializer to the graph that holds `near` and return its value."""
        graph = near.graph
        if not isinstance(graph, ir.Graph):
            raise ValueError(f"{near.name} is in no graph that can hold an initializer")  # noqa: TRY004 -- a state, not an argument's type
        value_name = self.fresh_name(name or f"{near.name or near.op_type}/constant")
        return _registered(_tensor(array, value_name), value_name, graph)

    def shared_constant(self, tensor: ir.TensorProtocol, *, near: ir.Node, name: str) -> ir.Value:
        """Add an initializer that holds the very tensor of another model, and return its value."""
        graph = near.graph
        if not isinstance(graph, ir.Graph):
            raise ValueError(f"{near.name} is in no graph that can hold an initializer")  # noqa: TRY004 -- a state, not an argument's type
        return _registered(tensor, self.fresh_name(name), graph)

    def refill(self, value: ir.Value, array: np.ndarray) -> None:
        """Let an initializer hold other numbers of its shape and element type, for all that read it."""
        value.const_value = ir.Tensor(array, name=value.name)

    def set_attribute(self, node: ir.Node, name: str, value: AttributeLike) -> None:
        """Give a node an attribute of a plain Python value, in place of the one it has."""
        node.attributes[name] = _attribute(node.op_type, name, value, node.domain, self._opset)

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """Let every reader of `old` read `new`, graph outputs included, whose names and types stay as they were.

        Where the graph output cannot simply be made by `new` (an input, an initializer, another output, a value of
        an enclosing graph), an Identity at the graph's end makes it. A graph output that is itself an input or an
        initializer, or an Identity of `new`, stays what it is.

        Raises:
            ValueError: when `old` is a graph output and `new` has another element type.
        """
        if old is new:
            return
        carry_origins(old, new)
        if not old.is_graph_output():
            learn(new, old)
            old.replace_all_uses_with(new)
            return
        if old.dtype is not None and new.dtype is not None and old.dtype != new.dtype:
            raise ValueError(f"graph output {old.name} is of type {old.dtype}, {new.name} is of type {new.dtype}")
        if _can_take_over(old, new):
            self._take_over(old, new)
            return
        for use in tuple(old.uses()):
            use.node.replace_input_with(use.idx, new)
        maker = old.producer()
        if maker is None or maker.graph is None or _is_identity_of(maker, new):
            return
        identity = self._new_node("Identity", [new], {}, 1, maker.name or "", "")
        maker.graph.append(identity)
        self._take_over(old, identity.outputs[0])

    def replace_node(self, node: ir.Node, *new: ir.Value) -> None:
        """Replace the node's outputs, in order, and erase it.

        Raises:
            ValueError: when an output beyond those of `new` is still read.
        """
        for old, value in zip(node.outputs, new, strict=False):
            self.replace(old, value)
        self.erase(node)

    def erase(self, node: ir.Node) -> None:
        """Remove a node whose outputs nobody reads, and with it all that its subgraphs read.

        Raises:
            ValueError: when an output is still read or is a graph output.
        """
        if node.graph is None:
            raise ValueError(f"{node.name} is in no graph")
        node.graph.remove(node, safe=True)
        for inner in _nodes_below(node):
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)

    def erase_unread(self, node: ir.Node | None) -> None:
        """Remove `node`, and then whatever fed only it, as far as nobody reads their outputs.

        Initializers stay: several values may yet come to share one.
        """
        pending = [node]
        while pending:
            current = pending.pop()
            if current is None or current.graph is None:
                continue
            if any(output.uses() or output.is_graph_output() for output in current.outputs):
                continue
            readers = (current, *_nodes_below(current))
            makers = [value.producer() for reader in readers for value in reader.inputs if value is not None]
            self.erase(current)
            pending.extend(makers)

    def fresh_name(self, base: str) -> str:
        """Return a name that nothing in the model has: `base`, or `base` with a number."""
        name = base
        while name in self._names:
            self._counters[base] = self._counters.get(base, 0) + 1
            name = f"{base}_{self._counters[base]}"
        self._names.add(name)
        return name

    def _new_node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, AttributeLike],
        outputs: int,
        base: str,
        domain: str,
    ) -> ir.Node:
        typed = [
            _attribute(op_type, key, value, domain, self._opset)
            for key, value in attributes.items()
            if value is not None
        ]
        if domain not in STANDARD_DOMAINS:
            self.model.opset_imports.setdefault(domain, 1)
        node = ir.Node(domain, op_type, inputs, typed, num_outputs=outputs)
        node.name = self.fresh_name(f"{base}/{op_type}")
        for index, output in enumerate(node.outputs):
            output.name = self.fresh_name(f"{node.name}:{index}")
        return node

    def _take_over(self, old: ir.Value, new: ir.Value) -> None:
        """Make `new` the graph output that `old` is: its name, declared type and shape, its annotations."""
        final_name = old.name
        old.name = self.fresh_name(f"{old.name}/replaced")
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.name = final_name
        new.type = old.type if old.type is not None else new.type
        new.shape = old.shape if old.shape is not None else new.shape
        new.doc_string = old.doc_string or new.doc_string
        new.metadata_props.update(old.metadata_props)
        new.meta.update(old.meta)  # pyright: ignore[reportUnknownMemberType] -- a UserDict without type arguments


def _registered(tensor: ir.TensorProtocol, name: str, graph: ir.Graph) -> ir.Value:
    shape = ir.Shape(tuple(tensor.shape.numpy()))
    value = ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _tensor(array: np.ndarray, name: str) -> ir.TensorProtocol:
    """Return the array as a tensor; elements of 4 bits are packed, as numpy has a byte for each."""
    if array.dtype.kind in "OSU":
        return ir.tensor(array, name=name)
    if array.dtype not in _FOUR_BITS:
        return ir.Tensor(array, name=name)
    bits = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    packed = bits[0::2] & 15
    packed[: bits.size // 2] |= bits[1::2] << 4
    return ir.PackedTensor(packed, ir.DataType.from_numpy(array.dtype), shape=ir.Shape(array.shape), name=name)


def _attribute(op_type: str, name: str, value: AttributeLike, domain: str, version: int) -> ir.Attr:
    """Make an attribute of the type that the op's schema wants: 1 becomes 1.0 where a float is due."""
    if isinstance(value, ir.Attr):
        return value
    declared = _declared(op_type, version).get(name) if domain in STANDARD_DOMAINS else None
    return ir.convenience.convert_attribute(name, value, declared)


@cache
def _declared(op_type: str, version: int) -> dict[str, ir.AttributeType]:
    """Return the types of the attributes that a standard op's schema declares."""
    if not onnx.defs.has(op_type, version, ""):
        return {}
    declared = onnx.defs.get_schema(op_type, version, "").attributes
    return {name: ir.AttributeType[cast("Enum", item.type).name] for name, item in declared.items()}


def _nodes_below(node: ir.Node) -> list[ir.Node]:
    """List the nodes in the node's subgraphs, at any depth."""
    return [inner for graph in subgraphs_of(node) for inner in graph.all_nodes()]


def _can_take_over(old: ir.Value, new: ir.Value) -> bool:
    """Say whether `new` may become the graph output that `old` is."""
    maker, old_maker = new.producer(), old.producer()
    if maker is None or new.is_graph_output() or old_maker is None:
        return False
    return maker.graph is old_maker.graph


def _is_identity_of(node: ir.Node, value: ir.Value) -> bool:
    return is_op(node, "Identity") and node.inputs[0] is value


def _names_in(model: ir.Model) -> set[str]:
    names: set[str] = set()
    for graph in (*graphs_of(model), *(function.graph for function in model.functions.values())):
        every = list(graph)
        names.update(graph.initializers, (value.name or "" for value in graph.inputs))
        names.update((node.name or "" for node in every), (made.name or "" for node in every for made in node.outputs))
    return names
