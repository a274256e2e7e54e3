from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, input_at, rank, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value


@dataclass(frozen=True)
class LowerFusedRotaryEmbedding(FormulaLowering):
    """ONNX Runtime's RotaryEmbedding becomes the standard one.

    `com.microsoft.RotaryEmbedding(x, positions, cos, sin) -> RotaryEmbedding(x, cos, sin, positions)`; a single
    position is that of the first token, to which the others' distances are added.

    Left alone: a scale; sequences packed one behind the other; shapes that are not static.
    """

    name = "lower-fused-rotary-embedding"
    op_types = ("com.microsoft::RotaryEmbedding",)
    produces = frozenset({"Add", "Expand", "RotaryEmbedding", "Unsqueeze"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the standard op of inputs in its order."""
        positions, cosine, sine = (input_at(node, index) for index in (1, 2, 3))
        shape, cache = static_shape(x), static_shape(cosine)
        if attribute(node, "scale", 1.0) != 1 or attribute(node, "is_packed_batching", 0):
            return Declined("it scales its input, or its sequences are packed")
        if shape is None or len(shape) not in (3, 4) or cache is None or rank(positions) not in (1, 2):
            return Declined("the shape of its input, of its caches or the rank of its positions is not known")
        turned = attribute(node, "rotary_embedding_dim", 0)
        heads = attribute(node, "num_heads", 0) if turned else shape[-1] // (2 * cache[1])
        if rank(positions) == 1:
            length = shape[1 if len(shape) == 3 else 2]
            steps = build.edit.constant(np.arange(length, dtype=np.int64)[None], near=node)
            positions = build("Expand", build("Add", positions, steps), build.integers(shape[0], length))
        return build(
            "RotaryEmbedding",
            x,
            cosine,
            sine,
            positions,
            interleaved=attribute(node, "interleaved", 0),
            num_heads=heads if len(shape) == 3 else None,
            rotary_embedding_dim=turned or None,
        )
