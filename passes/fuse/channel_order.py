"""How channels come in another order when only convolutions read them: their weights are put in that order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, input_at, is_op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Editor, Node, Value


def why_not_reordered(value: Value, order: Sequence[int]) -> str:
    """Return why the channels of `value` cannot come in another order, or an empty string."""
    if list(order) == list(range(len(order))):
        return ""
    if value.is_graph_output() or not value.uses():
        return "its channels come in another order, and others than convolutions see them"
    for use in value.uses():
        if use.idx != 0 or not is_op(use.node, "Conv") or attribute(use.node, "group", 1) != 1:
            return "its channels come in another order, and others than convolutions see them"
        if constant(input_at(use.node, 1)) is None:
            return "its channels come in another order, and the weights of a convolution are not constant"
    return ""


def reorder(old: Value, new: Value, order: Sequence[int], edit: Editor) -> None:
    """Let what reads `old` read `new`, whose channel `order[k]` is channel k of `old`.

    Ask `why_not_reordered` first.
    """
    if list(order) != list(range(len(order))):
        for node in dict.fromkeys(use.node for use in old.uses()):
            _reorder_weights(node, order, edit)
    edit.replace(old, new)


def _reorder_weights(node: Node, order: Sequence[int], edit: Editor) -> None:
    weight = constant(input_at(node, 1))
    assert weight is not None  # noqa: S101 -- asked for ahead
    moved = weight[:, np.argsort(order)]  # new channel `order[k]` is weighed as old channel k
    node.replace_input_with(1, edit.constant(np.ascontiguousarray(moved), near=node))
