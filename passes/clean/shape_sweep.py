"""One sweep over a graph that follows computed shapes from node to node."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.graph import (
    Editor,
    attribute,
    dims,
    input_at,
    is_constant,
    is_op,
    label,
    opset,
    shape_results,
    shape_values,
)
from npuopt.graph.shape_results import has_made_up_dim, infer_again, known_shape, note_dims
from npuopt.graph.shape_values import Known, known_result
from npuopt.pipeline import Entry

if TYPE_CHECKING:
    from npuopt.graph import DataType, Model, Node, Value
    from npuopt.graph.shape_elements import Element
    from npuopt.pipeline import Report

FOLLOWED = frozenset(shape_values.RULES)
SHAPED = frozenset(shape_results.RULES)


class Sweep:
    """Follows shapes from node to node.

    Attributes:
        nameless: whether a dim without number and name was found where nothing was known before.
    """

    nameless = False

    def __init__(self, model: Model, report: Report) -> None:
        self._edit = Editor(model)
        self._opset = opset(model)
        self._report = report
        self._known: dict[Value, Known] = {}
        self._fresh: set[Value] = set()  # values of which more is known than whole-model inference did
        self._folded: list[tuple[Node, Value, Entry]] = []

    def may_tell(self, node: Node) -> bool:
        """Say whether a visit may find anything; quick, and mostly the answer is no."""
        op_type = node.op_type
        if op_type in SHAPED or (op_type in FOLLOWED and node.outputs[0].dtype in shape_values.INTEGERS):
            return True
        return self._may_infer_more(node)

    def _may_infer_more(self, node: Node) -> bool:
        """Say whether more is known of what `node` reads than when its shapes were inferred, or may be.

        A name that inference made up is the trace of a dim that it did not know then, and passes may have told since.
        """
        return not self._fresh.isdisjoint(node.inputs) or any(map(has_made_up_dim, node.outputs))

    def visit(self, node: Node) -> None:
        """Find out what the node's results are, write a constant in their place or note their dims."""
        found = known_shape(node, self._known)
        sharper = self._may_infer_more(node) and infer_again(node, self._opset)
        if (found is not None and note_dims(node.outputs[0], found)) or sharper:
            self._fresh.update(node.outputs)
            self.nameless = self.nameless or any(None in (dims(output) or ()) for output in node.outputs)
        result = known_result(node, self._known)
        if result is not None:
            self._known[node.outputs[0]] = result
            if result.numbers is not None:
                self._fold(node, result.numbers, is_scalar=result.is_scalar)
        elif is_op(node, "Reshape") and input_at(node, 1) in self._known:
            self._settle(node, self._known[cast("Value", input_at(node, 1))].elements)

    def finish(self) -> None:
        """Erase what computed the folded values, and the constants that were only steps on the way."""
        for node, _, _ in reversed(self._folded):
            self._edit.erase_unread(node)
        for _, value, entry in self._folded:
            if value.uses():
                self._report.changed.append(entry)
            elif value.graph is not None:
                del value.graph.initializers[value.name or ""]

    def _fold(self, node: Node, numbers: list[int], *, is_scalar: bool) -> None:
        output = node.outputs[0]
        if is_op(node, "Identity") and output.is_graph_output() and is_constant(node.inputs[0]):
            return
        array = np.array(numbers[0] if is_scalar else numbers, dtype=cast("DataType", output.dtype).numpy())
        value = self._edit.constant(array, near=node, name=output.name or "")
        self._folded.append((node, value, Entry(label(node), node.op_type, f"is {array.tolist()}")))
        self._edit.replace(output, value)
        self._fresh.add(value)

    def _settle(self, node: Node, elements: tuple[Element, ...]) -> None:
        """Write a Reshape's target with 0 for dims that stay and -1 for one that the others settle."""
        target = _target(elements, dims(node.inputs[0]) or (), zero_copies=not attribute(node, "allowzero", 0))
        entry_label = label(node)
        if isinstance(target, str):
            self._report.declined.append(Entry(entry_label, node.op_type, target))
            return
        computed = input_at(node, 1)
        shape = self._edit.constant(np.array(target, dtype=np.int64), near=node)
        reshaped = self._edit.emit("Reshape", [node.inputs[0], shape], before=node)
        if node.outputs[0] in self._fresh or dims(reshaped) != dims(node.outputs[0]):
            self._fresh.add(reshaped)
        self._edit.replace_node(node, reshaped)
        self._edit.erase_unread(computed.producer() if computed is not None else None)
        self._report.changed.append(Entry(entry_label, node.op_type, f"its target is {target}"))


def _target(elements: tuple[Element, ...], shape: tuple[Element, ...], *, zero_copies: bool) -> list[int] | str:
    """Return a constant target for a Reshape without `allowzero`, or why there is none."""
    if not zero_copies and 0 in elements:
        return "its target has a 0 that means 0"
    target: list[int] = []
    for index, item in enumerate(elements):
        if isinstance(item, int):
            target.append(item)
        elif item is not None and index < len(shape) and shape[index] == item:
            target.append(0)
        else:
            target.append(-1)
    if target.count(-1) > 1:
        return f"{target.count(-1)} dims of its target are known at run time only"
    if -1 in target and 0 in target and -1 not in elements:
        return "its target would need a 0 and a -1, which fail together on empty tensors"
    return target
