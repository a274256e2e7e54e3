from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, attribute, input_at, rank
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node

MASK, PAST = 3, (4, 5)
"""Positions of inputs."""


@dataclass(frozen=True)
class LowerKeyValueCache(Lowering):
    """Attention with past keys and values becomes Concats ahead of one without.

    `Attention(q, k, v, mask, past_k, past_v) -> y, k', v'` with `k' = Concat<axis = 2>(past_k, k)`,
    `v' = Concat<axis = 2>(past_v, v)` and `y = Attention(q, k', v', mask)`

    Left alone: keys and values of rank 3; a causal Attention, which counts places from the past's end; a node whose
    scores are read; an Attention without a past.
    """

    name = "lower-key-value-cache"
    op_types = ("Attention",)
    produces = frozenset({"Attention", "Concat"})

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace `node`, with its present keys and values where they are read."""
        past = [input_at(node, index) for index in PAST]
        if None in past:
            return None
        if any(rank(value) != 4 for value in node.inputs[1:3]):
            return Declined("its keys or values are not of rank 4")
        if attribute(node, "is_causal", 0):
            return Declined("it is causal, and counts places from the end of the past")
        if any(output.uses() or output.is_graph_output() for output in node.outputs[3:]):
            return Declined("its scores are read")
        build = Builder(edit, node)
        joined = [build("Concat", old, new, axis=2) for old, new in zip(past, node.inputs[1:3], strict=True)]
        kept = {name: attr for name, attr in node.attributes.items() if name != "qk_matmul_output_mode"}
        result = build("Attention", input_at(node, 0), *joined, input_at(node, MASK), **kept)
        for output, value in zip(node.outputs, (result, *joined), strict=False):
            edit.replace(output, value)
        edit.erase(node)
        return Changed(f"became {', '.join(build.emitted)}")
