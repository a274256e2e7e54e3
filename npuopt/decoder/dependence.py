"""Which values depend on what tokens and caches hold, and which on their lengths and positions alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import is_op
from npuopt.graph.regions import values_read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from npuopt.graph import Model, Node, Value

SETS_UP = {
    "ConstantOfShape": {0},
    "Expand": {1},
    "Pad": {1, 3},
    "Range": {0, 1, 2},
    "Reshape": {1},
    "Slice": {1, 2, 3, 4},
    "Split": {1},
    "Squeeze": {1},
    "Tile": {1},
    "Unsqueeze": {1},
    **{name: {1} for name in ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")},
}
"""Inputs that say what shape an op gives or where it cuts: they follow from lengths, which are frozen."""


def depends_on_content(model: Model, roots: Iterable[Value]) -> set[Value]:
    """Return the values of the main graph that change with what `roots` hold, not only with their shapes."""
    found = set(roots)
    for node in model.graph:
        if not is_op(node, "Shape", "Size") and any(value in found for value in values_read(node)):
            found.update(node.outputs)
    return found


def made_of_lengths(model: Model, content: set[Value]) -> list[Value]:
    """List, in graph order, what nodes that compute with content read as data and that depends on lengths alone."""
    found: dict[Value, None] = {}
    lengths = {value for value in model.graph.inputs if value not in content}
    for node in model.graph:
        if is_op(node, "Shape", "Size") or any(value in lengths for value in values_read(node)):
            lengths.update(output for output in node.outputs if output not in content)
    for node in model.graph:
        if not any(output in content for output in node.outputs):
            continue
        for index, value in enumerate(node.inputs):
            if value is not None and value in lengths and not _sets_up(node, index):
                found[value] = None
    return list(found)


def _sets_up(node: Node, index: int) -> bool:
    return not node.domain and index in SETS_UP.get(node.op_type, ())
