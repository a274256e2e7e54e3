"""The verbs that change a graph. Passes edit through an Editor and through nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from npuopt.graph.inference import infer_node
from npuopt.graph.queries import graphs_of, opset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    AttributeLike = int | float | str | Sequence[int] | Sequence[float] | Sequence[str] | ir.Attr | None


class Editor:
    """Edits one model and keeps its promises.

    New names never collide, new values get their type and shape at once, and a graph output keeps its name,
    whichever value comes to produce it.
    """

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self._opset = opset(model)
        self._names = _names_in(model)
        self._counters: dict[str, int] = {}

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
        present = {key: value for key, value in (attributes or {}).items() if value is not None}
        node = ir.node(op_type, inputs, present, domain=domain, num_outputs=outputs)
        node.name = self.fresh_name(f"{name or before.name or op_type}/{op_type}")
        for index, output in enumerate(node.outputs):
            output.name = self.fresh_name(f"{node.name}:{index}")
        if before.graph is None:
            raise ValueError(f"{before.name} is in no graph")
        before.prepend(node)
        infer_node(node, self._opset)
        return tuple(node.outputs)

    def constant(self, array: np.ndarray, *, near: ir.Node, name: str = "") -> ir.Value:
        """Add an initializer to the graph that holds `near` and return its value."""
        graph = near.graph
        if not isinstance(graph, ir.Graph):
            raise ValueError(f"{near.name} is in no graph that can hold an initializer")  # noqa: TRY004 -- a state, not an argument's type
        value_name = self.fresh_name(name or f"{near.name or near.op_type}/constant")
        tensor = ir.tensor(array, name=value_name)
        value = ir.Value(
            name=value_name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        graph.register_initializer(value)
        return value

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """Let every reader of `old` read `new`, graph outputs included, whose names and types stay as they were.

        Where the graph output cannot simply be made by `new` (an input, an initializer, another output), an
        Identity makes it.
        """
        if old is new:
            return
        if not old.is_graph_output():
            old.replace_all_uses_with(new)
            _fill_type(new, old)
            return
        if _can_take_over(old, new):
            _fill_type(new, old)
            final_name = old.name
            old.name = self.fresh_name(f"{old.name}/replaced")
            old.replace_all_uses_with(new, replace_graph_outputs=True)
            new.name = final_name
            new.shape, new.type = old.shape, old.type
            return
        maker = old.producer()
        if maker is None:
            raise ValueError(f"{old.name} is a graph output that no node makes")
        for use in tuple(old.uses()):
            use.node.replace_input_with(use.idx, new)
        if maker.op_type == "Identity" and maker.domain == "" and maker.inputs[0] is new:
            return
        identity = self.emit("Identity", [new], before=maker)
        self.replace(old, identity)

    def replace_node(self, node: ir.Node, *new: ir.Value) -> None:
        """Replace the node's outputs, in order, and erase it."""
        for old, value in zip(node.outputs, new, strict=False):
            self.replace(old, value)
        self.erase(node)

    def erase(self, node: ir.Node) -> None:
        """Remove a node whose outputs nobody reads.

        Raises:
            ValueError: when an output is still read or is a graph output.
        """
        if node.graph is None:
            raise ValueError(f"{node.name} is in no graph")
        node.graph.remove(node, safe=True)

    def erase_unread(self, node: ir.Node | None) -> None:
        """Remove `node`, and then whatever fed only it, as far as nobody reads their outputs."""
        pending = [node]
        while pending:
            current = pending.pop()
            if current is None or current.graph is None:
                continue
            if any(output.uses() or output.is_graph_output() for output in current.outputs):
                continue
            makers = [value.producer() for value in current.inputs if value is not None]
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


def _can_take_over(old: ir.Value, new: ir.Value) -> bool:
    """Say whether `new` may become the graph output that `old` is."""
    maker, old_maker = new.producer(), old.producer()
    if maker is None or new.is_graph_output() or old_maker is None:
        return False
    return maker.graph is old_maker.graph


def _fill_type(new: ir.Value, old: ir.Value) -> None:
    """Give `new` what is known of `old` and not yet of itself."""
    if new.type is None:
        new.type = old.type
    if new.shape is None:
        new.shape = old.shape


def _names_in(model: ir.Model) -> set[str]:
    names: set[str] = set()
    for graph in graphs_of(model):
        names.update(value.name for value in graph.inputs if value.name)
        names.update(graph.initializers)
        for node in graph:
            names.add(node.name or "")
            names.update(output.name for output in node.outputs if output.name)
    return names
