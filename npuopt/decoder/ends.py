"""Finds the two ends of a decoder: where tokens come in, and the product that makes the logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.errors import InputError
from npuopt.graph import constant, dims, element_type, input_at, is_constant, is_op, nodes, producer, static_shape

if TYPE_CHECKING:
    from npuopt.decoder.hints import Hints
    from npuopt.graph import Model, Node, Value

PASSES_ON = ("Cast", "Identity", "Reshape")
ROWWISE = ("Add", "Cast", "Clip", "Div", "Identity", "Mul", "Sub", "Tanh")
"""Ops between the last product and the logits that keep tokens apart: scales, biases, a cap."""


def find_logits(model: Model, hints: Hints) -> tuple[Value, int]:
    """Return the output of logits, [batch, new, vocabulary], and the vocabulary's size.

    Raises:
        InputError: when it is not clear which it is.
    """
    found: list[tuple[Value, int]] = []
    for value in model.graph.outputs:
        shape, kind = dims(value) or (), element_type(value)
        if kind is None or not kind.is_floating_point() or len(shape) != 3 or not isinstance(shape[2], int):
            continue
        if hints.logits in (None, value.name):
            found.append((value, shape[2]))
    if len(found) != 1:
        names = ", ".join(repr(value.name) for value, _ in found) or "none"
        raise InputError(
            f"which output has the logits is not clear: candidates of [batch, tokens, vocabulary]: {names}",
            hint="say `logits: NAME` in a file for --decoder-hints",
        )
    return found[0]


def find_head(logits: Value) -> Node | None:
    """Return the product with a constant that makes the logits, behind what scales or caps them; None if unclear."""
    value: Value | None = logits
    while (node := producer(value)) is not None:
        if is_op(node, "MatMul", "Gemm"):
            return node if is_constant(node.inputs[1]) or producer(node.inputs[1], "Transpose") is not None else None
        if not is_op(node, *ROWWISE):
            return None
        moving = [item for item in node.inputs if item is not None and constant_size(item) is None]
        if len(moving) != 1:
            return None
        value = moving[0]
    return None


def constant_size(value: Value) -> int | None:
    """Return how many elements a constant has, or None where the value is none."""
    shape = static_shape(value) if is_constant(value) else None
    size = 1
    for dim in shape or ():
        size *= dim
    return None if shape is None else size


def find_tokens(model: Model, vocabulary: int, hints: Hints) -> tuple[Value, Node | None]:
    """Return the input of tokens and the Gather that looks them up; None for an input of vectors.

    Raises:
        InputError: when it is not clear which it is.
    """
    found: dict[Value, Node] = {}
    for node in nodes(model, "Gather"):
        table, index = node.inputs[0], _source(input_at(node, 1))
        shape = static_shape(table) if is_constant(table) else None
        if index is None or not index.is_graph_input() or shape is None or len(shape) != 2:
            continue
        if hints.tokens in (None, index.name) and hints.inputs.get(index.name or "") is None:
            found.setdefault(index, node)
    if len(found) > 1:  # positions and kinds of segments are looked up too, in tables that are shorter
        whole = {
            value: node for value, node in found.items() if (static_shape(node.inputs[0]) or (0,))[0] >= vocabulary
        }
        found = whole or found
    if len(found) == 1:
        return next(iter(found.items()))
    vectors = [value for value in model.graph.inputs if _is_vectors(value) and hints.tokens in (None, value.name)]
    if not found and len(vectors) == 1:
        return vectors[0], None
    names = ", ".join(repr(value.name) for value in (*found, *vectors)) or "none"
    raise InputError(
        f"which input has the tokens is not clear: candidates {names}",
        hint="say `tokens: NAME` in a file for --decoder-hints",
    )


def _source(value: Value | None) -> Value | None:
    while (node := producer(value, *PASSES_ON)) is not None:
        value = node.inputs[0]
    return value


def _is_vectors(value: Value) -> bool:
    shape, kind = dims(value) or (), element_type(value)
    return len(shape) == 3 and isinstance(shape[2], int) and kind is not None and kind.is_floating_point()


def table_of(lookup: Node) -> str:
    """Return the name of the table that tokens are looked up in."""
    table = lookup.inputs[0]
    return "" if table is None or constant(table) is None else table.name or ""
