"""Random graphs that are made of patterns: what one pattern makes, the next may read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.shape_inference
from hypothesis import strategies as st

from fuzz.glue import add_glue
from support.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz.patterns import Pattern

MOST_PATTERNS = 4
SHAPES = ((2, 3), (4,), (2, 1, 4), (1, 2, 3, 4), (1, 1, 6, 2), (1, 3, 1, 1), (2, 0, 3))
"""Of the inputs of a graph without patterns."""
MOST_GLUE = 12
LARGEST = 4096
"""Elements of the largest value that is read again; patterns multiply sizes."""


class Chained(Surroundings):
    """Surroundings in which an input may turn out to be what an earlier pattern made."""

    def input(self, *shape: int, dtype: str = "float32", declared: Sequence[int | str] | None = None) -> str:
        """Add a graph input, or return an earlier value of the same type and shape."""
        if dtype == "float32" and declared is None and shape:
            made = self.values().get(shape, [])
            if made and self.draw(st.booleans()):
                return self.choose(*made)
        return super().input(*shape, dtype=dtype, declared=declared)

    def values(self) -> dict[tuple[int, ...], list[str]]:
        """Return the float values made so far, by shape."""
        known = onnx.shape_inference.infer_shapes(self.draft([]), data_prop=True).graph.value_info
        found: dict[tuple[int, ...], list[str]] = {}
        for value in known:
            tensor = value.type.tensor_type
            if tensor.elem_type == onnx.TensorProto.FLOAT and tensor.HasField("shape"):
                shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
                if -1 not in shape and np.prod(shape, dtype=int) <= LARGEST:
                    found.setdefault(shape, []).append(value.name)
        return found


def draw_graph(around: Chained, patterns: Sequence[Pattern]) -> list[Pattern]:
    """Add a few patterns, and simple ops between them, or such ops alone; returns the patterns."""
    if around.choose(False, False, True):
        for _ in range(2):
            around.op("Neg", around.input(*around.choose(*SHAPES)))
        for _ in range(around.draw(st.integers(4, MOST_GLUE))):
            add_glue(around)
        return []
    chosen = around.draw(st.lists(st.sampled_from(patterns), min_size=1, max_size=MOST_PATTERNS))
    for pattern in chosen:
        pattern.build(around)
        for _ in range(around.choose(0, 0, 1, 2)):
            add_glue(around)
    return chosen
