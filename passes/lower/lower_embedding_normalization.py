from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Builder, attribute, element_type, input_at, static_shape
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node

EPSILON = 1e-12
"""What ONNX Runtime adds to the variance where a node does not say."""
IDS, SEGMENTS, WORDS, POSITIONS, SEGMENT_ROWS, GAMMA, BETA, PLACES = 0, 1, 2, 3, 4, 5, 6, 8
"""Positions of inputs."""


@dataclass(frozen=True)
class LowerEmbeddingNormalization(Lowering):
    """EmbedLayerNormalization becomes Gathers of words, positions and segments, their sum, and LayerNormalization.

    `EmbedLayerNormalization(ids, segments, words, positions, segment_rows, gamma, beta) -> y, , sum` with
    `sum = Gather(words, ids) + Gather(positions, [0, 1, ...]) + Gather(segment_rows, segments)` and
    `y = LayerNormalization(sum, gamma, beta)`

    Left alone: a node whose lengths of sequences are read; ids of a shape that is not static, where positions are not
    given.
    """

    name = "lower-embedding-normalization"
    op_types = ("com.microsoft::EmbedLayerNormalization",)
    produces = frozenset({"Add", "Gather", "LayerNormalization"})

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace the normalized sum, and the sum where it is read."""
        build, shape = Builder(edit, node), static_shape(input_at(node, IDS))
        places = input_at(node, PLACES)
        if any(output.uses() or output.is_graph_output() for output in node.outputs[1:2]):
            return Declined("its lengths of sequences are read")
        if element_type(input_at(node, WORDS)) is None or (places is None and (shape is None or len(shape) != 2)):
            return Declined("the shape of its ids is not static, or its type is not known")
        if places is None and shape is not None:
            places = edit.constant(np.arange(shape[1], dtype=np.int64)[None], near=node)
        total = build("Gather", input_at(node, WORDS), input_at(node, IDS), axis=0)
        total = build("Add", total, build("Gather", input_at(node, POSITIONS), places, axis=0))
        if input_at(node, SEGMENTS) is not None:
            rows = build("Gather", input_at(node, SEGMENT_ROWS), input_at(node, SEGMENTS), axis=0)
            total = build("Add", total, rows)
        gamma, beta = input_at(node, GAMMA), input_at(node, BETA)
        result = build("LayerNormalization", total, gamma, beta, axis=-1, epsilon=attribute(node, "epsilon", EPSILON))
        for output, value in zip((node.outputs[0], *node.outputs[2:]), (result, total), strict=False):
            edit.replace(output, value)
        edit.erase(node)
        return Changed(f"became {', '.join(build.emitted)}")
