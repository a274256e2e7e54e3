from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, DataType, attribute, attribute_list, constant, element_type, input_at, static_shape
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value

FILTER = -10000.0
"""What ONNX Runtime adds to the scores of masked keys where a node does not say."""
LARGE = 1e30
"""A size from which on Attention may take a number for minus infinity."""
SEPARATE = {"bias": 3, "mask": 4, "added": 5, "past_key": 6, "past_value": 7}
JOINT = {"bias": 2, "mask": 3, "past": 4, "added": 5}
"""Positions of inputs: of MultiHeadAttention, and of Attention, which multiplies its one input by weights itself."""


@dataclass(frozen=True)
class LowerMultiHeadAttention(Lowering):
    """ONNX Runtime's MultiHeadAttention and Attention become the standard Attention.

    `MultiHeadAttention<num_heads>(q, k, v, bias, mask, added, past_k, past_v) -> Attention<q_num_heads>(q + bias_q,
    k + bias_k, v + bias_v, Where(mask, 0, -10000) + added, past_k, past_v)`; `Attention(x, w, bias, mask) -> ` the same
    of the parts of `MatMul(x, w) + bias`.

    Left alone: shapes that are not static; keys and values packed together or of rank 4; a bias given at run time;
    masks by lengths; a past in one tensor, or with a length of its own; rotation; a causal node with other numbers of
    keys than of queries; a node whose scores are read; masked keys that are nearly at minus infinity.
    """

    name = "lower-multi-head-attention"
    op_types = ("com.microsoft::Attention", "com.microsoft::MultiHeadAttention")
    produces = frozenset({"Add", "Attention", "Cast", "Expand", "MatMul", "Split", "Unsqueeze", "Where"})

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace `node`, with its present keys and values where it has them."""
        places = SEPARATE if node.op_type == "MultiHeadAttention" else JOINT
        if why := _not_covered(node, places):
            return Declined(why)
        build = Builder(edit, node)
        query, key, value = _separate(node, build) if places is SEPARATE else _parts(node, build)
        past = [input_at(node, places[name]) for name in ("past_key", "past_value") if name in places]
        heads = attribute(node, "num_heads", 1)
        made = build.many(
            "Attention",
            3 if any(value is not None for value in past) else 1,
            query,
            key,
            value,
            _mask(node, places, query, key, build),
            *past,
            q_num_heads=heads,
            kv_num_heads=heads,
            scale=attribute(node, "scale", 0.0) or None,
            is_causal=1 if attribute(node, "unidirectional", 0) else None,
        )
        for output, new in zip(node.outputs, made, strict=False):
            edit.replace(output, new)
        edit.erase(node)
        return Changed(f"became {', '.join(build.emitted)}")


def _not_covered(node: Node, places: dict[str, int]) -> str:
    """Return why the standard op would not do the same, or an empty string."""
    shapes = [static_shape(value) for value in node.inputs[: 3 if places is SEPARATE else 1]]
    if any(shape is None or len(shape) != 3 or 0 in shape for shape in shapes):
        return "its inputs are packed, or their shapes are not static or have no elements"
    bias, mask = (input_at(node, places[name]) for name in ("bias", "mask"))
    past = input_at(node, places["past" if places is JOINT else "past_key"])
    if bias is not None and places is SEPARATE and constant(bias) is None:
        return "its bias is not constant"
    if mask is not None and len(static_shape(mask) or ()) not in (2, 3):
        return "its mask is given by lengths, or its shape is not static"
    if past is not None and (places is JOINT or not static_shape(past) or 0 in (static_shape(past) or ())):
        return "its past is one tensor, or of a shape that is not static or has no elements"
    if attribute(node, "do_rotary", 0) or any(value is not None for value in node.inputs[max(places.values()) + 1 :]):
        return "it rotates its queries, or has a cache of its own"
    lengths = {shape[1] for shape in shapes if shape is not None}
    if attribute(node, "unidirectional", 0) and (past is not None or len(lengths) > 1):
        return "it is causal, with other numbers of keys than of queries"
    if not -LARGE < attribute(node, "mask_filter_value", FILTER) <= 0:
        return f"it adds {attribute(node, 'mask_filter_value', FILTER):g} to the scores of masked keys"
    unread = node.outputs[1 if past is None else 3 :]
    return "its scores or its present are read" if any(o.uses() or o.is_graph_output() for o in unread) else ""


def _separate(node: Node, build: Builder) -> list[Value]:
    """Return queries, keys and values with their biases."""
    bias = constant(input_at(node, SEPARATE["bias"]))
    found: list[Value] = []
    start = 0
    for value in node.inputs[:3]:
        assert value is not None  # noqa: S101 -- its shape is known
        width = (static_shape(value) or (0,))[-1]
        found.append(value if bias is None else build("Add", value, build.array(bias[start : start + width])))
        start += width
    return found


def _parts(node: Node, build: Builder) -> list[Value]:
    """Return queries, keys and values as the product with the node's weights."""
    product = build("MatMul", input_at(node, 0), input_at(node, 1))
    bias = input_at(node, JOINT["bias"])
    if bias is not None:
        product = build("Add", product, bias)
    width = (static_shape(product) or (0,))[-1]
    sizes = attribute_list(node, "qkv_hidden_sizes") or [width // 3] * 3
    return list(build.many("Split", 3, product, build.integers(*sizes), axis=-1))


def _mask(node: Node, places: dict[str, int], query: Value, key: Value, build: Builder) -> Value | None:
    """Return what is added to the scores, all queries written out."""
    mask, added = input_at(node, places["mask"]), input_at(node, places["added"])
    if mask is None:
        return added
    batch, queries, _ = static_shape(query) or (0, 0, 0)
    past = static_shape(input_at(node, places.get("past_key", len(node.inputs)))) or (0, 0, 0)
    keys = (static_shape(key) or (0, 0))[1] + past[2]
    shown = mask if element_type(mask) == DataType.BOOL else build("Cast", mask, to=DataType.BOOL)
    weights = build("Where", shown, 0.0, attribute(node, "mask_filter_value", FILTER))
    wide = build("Unsqueeze", weights, build.integers(*((1, 2) if len(static_shape(mask) or ()) == 2 else (1,))))
    wide = build("Expand", wide, build.integers(batch, 1, queries, keys))
    return wide if added is None else build("Add", wide, added)
