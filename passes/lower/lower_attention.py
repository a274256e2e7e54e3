from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Builder, DataType, attribute, constant, element_type, input_at, static_shape
from npuopt.passes.lower.heads import Heads, heads_of, with_past
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value

MASK, PAST_KEY, PAST_VALUE, CACHE_LENGTHS = 3, 4, 5, 6
"""Positions of inputs."""


@dataclass(frozen=True)
class LowerAttention(Lowering):
    """Attention becomes two MatMuls around a Softmax.

    `Attention(q, k, v, mask) -> MatMul(Softmax(MatMul(scale * q, Transpose(k)) + mask), v)`; past keys and values
    are joined by Concat. The queries of a group go side by side through the key head that they share, so that no key
    or value is repeated. Rows that a boolean mask hides entirely give zero, as the standard asks; rows of a float
    mask that are all minus infinity do not.

    Left alone: shapes that are not static; cache lengths given at run time; a node whose scores are read; a mask
    shorter than the keys; queries, keys and values of different types.
    """

    name = "lower-attention"
    op_types = ("Attention",)
    produces = frozenset(
        {"Add", "And", "Cast", "Concat", "MatMul", "Mul", "Reshape", "Softmax", "Tanh", "Transpose", "Where"}
    )

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace `node`, with the present keys and values where it has them."""
        if why := _not_covered(node):
            return Declined(why)
        build = Builder(edit, node)
        query = heads_of(node, 0, attribute(node, "q_num_heads", 0), build)
        key, value = (heads_of(node, index, attribute(node, "kv_num_heads", 0), build) for index in (1, 2))
        key, value = with_past(key, node, PAST_KEY, build), with_past(value, node, PAST_VALUE, build)
        result = _attended(node, query, key, value, build)
        if len(static_shape(node.inputs[0]) or ()) == 3:
            result = build("Transpose", result, perm=[0, 2, 1, 3])
            result = build("Reshape", result, build.integers(query.batch, query.length, query.heads * value.size))
        for output, new in zip(node.outputs, (result, key.value, value.value), strict=False):
            edit.replace(output, new)
        edit.erase(node)
        return Changed(f"became {', '.join(build.emitted)}")


def _not_covered(node: Node) -> str:
    """Return why the formula below does not cover `node`, or an empty string."""
    shapes = [static_shape(value) for value in node.inputs[:3]]
    if any(shape is None or len(shape) not in (3, 4) or 0 in shape for shape in shapes):
        return "the shapes of queries, keys and values are not static, or have no elements"
    if len({element_type(value) for value in node.inputs[:3]}) != 1 or element_type(node.inputs[0]) is None:
        return "queries, keys and values are of different types"
    if input_at(node, CACHE_LENGTHS) is not None:
        return "the lengths of its cache are given at run time"
    if len(node.outputs) > 3 and (node.outputs[3].uses() or node.outputs[3].is_graph_output()):
        return "its scores are read"
    past = [static_shape(value) for value in (input_at(node, PAST_KEY), input_at(node, PAST_VALUE)) if value]
    if any(shape is None or 0 in shape for shape in past):
        return "the shapes of past keys and values are not static, or have no elements"
    mask, total = input_at(node, MASK), _length(node, 1) + (past[0][2] if past and past[0] else 0)
    mask_shape = static_shape(mask)
    if mask is not None and (not mask_shape or mask_shape[-1] != total):
        return f"its mask does not cover the {total} keys"
    return ""


def _length(node: Node, index: int) -> int:
    shape = static_shape(node.inputs[index]) or (0, 0, 0)
    return shape[1] if len(shape) == 3 else shape[2]


def _attended(node: Node, query: Heads, key: Heads, value: Heads, build: Builder) -> Value:
    """Return [batch, query heads, query length, value size]."""
    scale = attribute(node, "scale", 0.0) or 1 / math.sqrt(query.size)
    grouped = query.heads != key.heads
    rows = (query.batch, key.heads, query.heads // key.heads * query.length)
    scaled = build("Mul", query.value, scale)
    if grouped:
        scaled = build("Reshape", scaled, build.integers(*rows, query.size))
    scores = build("MatMul", scaled, build("Transpose", key.value, perm=[0, 1, 3, 2]))
    if grouped:
        scores = build("Reshape", scores, build.integers(query.batch, query.heads, query.length, key.length))
    if cap := attribute(node, "softcap", 0.0):
        scores = build("Mul", build("Tanh", build("Mul", scores, 1 / cap)), cap)
    weights = _weights(node, scores, query.length, key.length, build)
    if grouped:
        weights = build("Reshape", weights, build.integers(*rows, key.length))
    result = build("MatMul", weights, value.value)
    if grouped:
        result = build("Reshape", result, build.integers(query.batch, query.heads, query.length, value.size))
    return result


def _weights(node: Node, scores: Value, queries: int, keys: int, build: Builder) -> Value:
    """Return the masked softmax of the scores."""
    kind = build.type or DataType.FLOAT
    mask = input_at(node, MASK)
    allowed = mask if element_type(mask) == DataType.BOOL else None
    if mask is not None and allowed is None:
        scores = build("Add", scores, mask)
    if attribute(node, "is_causal", 0):
        past = static_shape(input_at(node, PAST_KEY))
        seen = np.tril(np.ones((queries, keys), dtype=np.bool_), past[2] if past else 0)
        causal = build.edit.constant(seen, near=node)
        allowed = causal if allowed is None else build("And", allowed, causal)
    if allowed is not None:
        scores = build("Where", allowed, scores, float(kind.min))
    precision = attribute(node, "softmax_precision", int(kind))
    if precision != kind:
        scores = build("Cast", scores, to=precision)
    weights = build("Softmax", scores, axis=-1)
    if precision != kind:
        weights = build("Cast", weights, to=kind)
    if allowed is None or _shows_a_key_to_each_query(allowed):
        return weights
    return build("Where", allowed, weights, 0.0)


def _shows_a_key_to_each_query(allowed: Value) -> bool:
    known = constant(allowed)
    return known is not None and bool(known.any(axis=-1).all())
