from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, attribute, input_at, static_shape
from npuopt.passes.lower.grouped_attention import COSINES, PAST_KEY, PAST_VALUE, SINES, Sizes, read_sizes, why_not
from npuopt.passes.lower.grouped_attention_cache import ended, first_place, mask_of, places_of, written
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value


@dataclass(frozen=True)
class LowerGroupQueryAttention(Lowering):
    """ONNX Runtime's GroupQueryAttention becomes Attention, with RotaryEmbedding and TensorScatter where it has them.

    `GroupQueryAttention<num_heads, kv_num_heads>(q, k, v, past_k, past_v, lengths) -> Attention(heads(q),
    TensorScatter(past_k, heads(k), at), TensorScatter(past_v, heads(v), at), mask)`, whose mask shows each query the
    keys up to its own place (in a window, the nearest of them); a cache that grows gets room first. Where the lengths
    are known to fill the cache, `Attention<is_causal = 1>(heads(q), heads(k), heads(v), , past_k, past_v)`.

    Taken for granted, as ONNX Runtime does: only a prompt has several queries in several sequences. What queries
    behind the end of a sequence give is not specified; present keys and values there are zero.

    Left alone: shapes that are not static, or a present of unknown length or that is not there; positions of its own,
    sinks, smooth softmax, scales of a quantized cache, normalized heads; a node that is not causal, or whose scores
    are read.

    Attributes:
        assume_full: take it that the lengths fill a cache that grows: no padding beside one sequence.
    """

    name = "lower-group-query-attention"
    op_types = ("com.microsoft::GroupQueryAttention",)
    produces = frozenset(
        {
            "Add",
            "And",
            "Attention",
            "Cast",
            "Concat",
            "Greater",
            "Less",
            "LessOrEqual",
            "Reshape",
            "RotaryEmbedding",
            "Split",
            "TensorScatter",
            "Transpose",
            "Unsqueeze",
            "Where",
        }
    )

    assume_full: bool = False

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace `node`, with its present keys and values where it has them."""
        sizes = read_sizes(node)
        why = sizes if isinstance(sizes, str) else why_not(node, sizes)
        if isinstance(sizes, str) or why:
            return Declined(why)
        build = Builder(edit, node)
        kind = build.type
        start = first_place(node, sizes, build, full=self.assume_full)
        query, key, value = _heads(node, sizes, build)
        if attribute(node, "do_rotary", 0):
            places = places_of(node, start, sizes, build)
            query, key = (_turned(node, heads, places, sizes, build) for heads in (query, key))
        pasts = [input_at(node, PAST_KEY), input_at(node, PAST_VALUE)]
        joins = sizes.total > sizes.past == start
        build.type = kind
        if not joins:
            key, value = (
                written(past, new, start, sizes, build) for past, new in zip(pasts, (key, value), strict=True)
            )
        mask = mask_of(node, start, sizes, build)
        result, *present = build.many(
            "Attention",
            3 if joins and sizes.past else 1,
            query,
            key,
            value,
            mask,
            *(pasts if joins else ()),
            is_causal=1 if joins else None,
            scale=attribute(node, "scale", 0.0) or None,
            softcap=attribute(node, "softcap", 0.0) or None,
        )
        result = build("Transpose", result, perm=[0, 2, 1, 3])
        result = build("Reshape", result, build.integers(sizes.batch, sizes.queries, sizes.heads * sizes.width))
        edit.replace(node.outputs[0], result)
        build.type = kind
        for output, kept in zip(node.outputs[1:3], present or (key, value), strict=False):
            if output.uses() or output.is_graph_output():
                edit.replace(output, kept if joins else ended(kept, start, sizes, build))
        edit.erase(node)
        return Changed(f"became {', '.join(build.emitted)}")


def _heads(node: Node, sizes: Sizes, build: Builder) -> list[Value]:
    """Return queries, keys and values as [batch, heads, length, width]."""
    counts = (sizes.heads, sizes.groups, sizes.groups)
    parts = list(node.inputs[:3])
    if parts[1] is None:
        widths = build.integers(*(count * sizes.width for count in counts))
        parts = list(build.many("Split", 3, parts[0], widths, axis=-1))
    return [
        build(
            "Transpose",
            build("Reshape", part, build.integers(sizes.batch, sizes.queries, count, sizes.width)),
            perm=[0, 2, 1, 3],
        )
        for part, count in zip(parts, counts, strict=True)
    ]


def _turned(node: Node, heads: Value, places: Value, sizes: Sizes, build: Builder) -> Value:
    """Return heads turned by the places of their tokens."""
    cosines = input_at(node, COSINES)
    turned = 2 * (static_shape(cosines) or (0, 0))[1]
    return build(
        "RotaryEmbedding",
        heads,
        cosines,
        input_at(node, SINES),
        places,
        interleaved=attribute(node, "rotary_interleaved", 0),
        rotary_embedding_dim=turned if turned < sizes.width else None,
    )
