"""Finds the layers of a decoder: its Attention nodes, their caches and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.decoder.description import Layer
from npuopt.errors import InputError
from npuopt.graph import attribute, dims, input_at, is_constant, label, nodes, producer

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value

MASK, PAST_KEY, PAST_VALUE = 3, 4, 5


def attentions(model: Model) -> list[Node]:
    """Return the attention nodes to the model's own tokens in graph order; keys of others are inputs.

    Raises:
        InputError: when there are none, or a Softmax between two products is left that could be one.
    """
    found = [node for node in nodes(model, "Attention") if not _is_input(input_at(node, 1))]
    left = [node for node in nodes(model, "Softmax") if producer(node.inputs[0]) is not None]
    if not found:
        why = f"; Softmax {label(left[0])} is not part of an attention that is known" if left else ""
        raise InputError(f"has no attention, so it is no decoder{why}")
    return found


def _is_input(value: Value | None) -> bool:
    return value is not None and value.is_graph_input()


def caches(model: Model) -> tuple[Value, ...]:
    """Return the graph inputs that are past keys and values."""
    past = [input_at(node, index) for node in nodes(model, "Attention") for index in (PAST_KEY, PAST_VALUE)]
    return tuple(value for value in past if value is not None and value.is_graph_input())


def read_layer(node: Node, window: int | None, bias: str = "") -> Layer:
    """Return what is known of one layer.

    Raises:
        InputError: when its cache or its heads are not as a decoder's are.
    """
    where = f"node {label(node)}"
    query, key, value = node.inputs[:3]
    past = [input_at(node, index) for index in (PAST_KEY, PAST_VALUE)]
    if key is None or value is None or any(item is not None and not item.is_graph_input() for item in past):
        raise InputError("its past keys or values are made in the graph, not given to it", where=where)
    if (past[0] is None) != (past[1] is None) or (past[0] is not None and past[0] is past[1]):
        raise InputError("has two candidates for its cache: keys and values are not joined alike", where=where)
    sizes = [heads_of(item, where) for item in (query, key, value)]
    mask = input_at(node, MASK)
    return Layer(
        attention=node.outputs[0].name or "",
        mask="" if mask is None else mask.name or "",
        key=key.name or "",
        value=value.name or "",
        past_key=None if past[0] is None else past[0].name,
        past_value=None if past[1] is None else past[1].name,
        present_key=_given_back(node, 1),
        present_value=_given_back(node, 2),
        query_heads=sizes[0][0],
        heads=sizes[1][0],
        key_size=sizes[1][1],
        value_size=sizes[2][1],
        window=window,
        scale=attribute(node, "scale", 0.0) or None,
        softcap=attribute(node, "softcap", 0.0),
        bias=bias,
    )


def _given_back(node: Node, index: int) -> str:
    """Return the name of an output of the node where it is one of the graph's."""
    output = node.outputs[index] if index < len(node.outputs) else None
    return (output.name or "") if output is not None and output.is_graph_output() else ""


def stray_caches(model: Model, known: tuple[Value, ...]) -> list[str]:
    """Return inputs that look like keys or values, and that no attention takes as its past."""
    return [
        value.name or ""
        for value in model.graph.inputs
        if value not in known and not is_constant(value) and len(dims(value) or ()) == 4
    ]


def heads_of(value: Value | None, where: str) -> tuple[int, int]:
    """Return how many heads keys or values have, and of what size.

    Raises:
        InputError: when that is not known.
    """
    shape = dims(value) or ()
    if len(shape) != 4 or not isinstance(shape[1], int) or not isinstance(shape[3], int):
        raise InputError(f"its heads are of unknown number or size: {list(shape)}", where=where)
    return shape[1], shape[3]
