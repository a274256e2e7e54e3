"""What an opset adapter is and works with.

An adapter belongs to an op and to the version of the standard domain that changed the op's meaning or its inputs.
It turns one node from the form before that version into the canonical form. Ops whose changes were only more element
types have none: they are relabelled. The tables were made by going through `onnx.defs.get_all_schemas_with_history()`
op by op, versions 7 to 24; each module with one says what changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from npuopt.errors import InputError
from npuopt.graph.queries import label

if TYPE_CHECKING:
    from npuopt.graph.editor import Editor


@dataclass(frozen=True)
class Conversion:
    """What an adapter works with.

    Attributes:
        edit: makes nodes of the canonical opset.
        source: the version that the model comes from.
        holds_initializers: False inside functions, whose constants are Constant nodes.
        where: the file, for errors.
        shared: the vectors made for the main graph.
    """

    edit: Editor
    source: int
    holds_initializers: bool
    where: str
    shared: dict[tuple[int, ...], ir.Value] = field(default_factory=dict[tuple[int, ...], ir.Value])

    def refusal(self, node: ir.Node, why: str) -> InputError:
        """Return the error that names the node which cannot be converted."""
        return InputError(
            f"node {label(node)!r} ({node.op_type}) cannot be converted from opset {self.source}: {why}",
            where=self.where,
            hint="export the model at opset 18 or later",
        )

    def take(self, node: ir.Node, name: str) -> ir.Attr | None:
        """Remove an attribute and return it; None where it is absent."""
        attr = node.attributes.pop(name, None)
        if attr is not None and attr.is_ref():
            raise self.refusal(node, f"its attribute {name!r} is a parameter of the function it stands in")
        return attr

    def constant(self, array: np.ndarray, near: ir.Node) -> ir.Value:
        """Return a constant that `near` may read."""
        if self.holds_initializers:
            return self.edit.constant(array, near=near)
        return self.edit.emit("Constant", [], {"value": ir.AttrTensor("value", ir.tensor(array))}, before=near)

    def integers(self, items: list[int], near: ir.Node) -> ir.Value:
        """Return a constant int64 vector, of the main graph's the same one for the same numbers."""
        if not self.holds_initializers or near.graph is not self.edit.model.graph:
            return self.constant(np.asarray(items, np.int64), near)
        if tuple(items) not in self.shared:
            self.shared[tuple(items)] = self.constant(np.asarray(items, np.int64), near)
        return self.shared[tuple(items)]


Adapter = Callable[[Conversion, ir.Node], None]

AdapterTable = dict[tuple[str, int], Adapter]
"""(op, version that changed it) -> what brings a node across that change."""


def set_input(node: ir.Node, index: int, value: ir.Value | None) -> None:
    """Set an input, making room for it where the node has fewer."""
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)
