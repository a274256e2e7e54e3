"""Random graphs that are made of patterns: what one pattern makes, the next may read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.shape_inference
from hypothesis import strategies as st

from support.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz.patterns import Pattern

MOST_PATTERNS = 4
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
    """Add a few patterns, and simple ops between them; returns the patterns."""
    chosen = around.draw(st.lists(st.sampled_from(patterns), min_size=1, max_size=MOST_PATTERNS))
    for pattern in chosen:
        pattern.build(around)
        for _ in range(around.choose(0, 0, 1, 2)):
            _add_glue(around)
    return chosen


def _add_glue(around: Chained) -> None:
    values = around.values()
    if not values:
        return
    shape = around.choose(*values)
    value = around.choose(*values[shape])
    kind = around.choose("unary", "binary", "transpose", "reshape", "concat", "slice", "pad", "constant")
    if kind == "unary":
        around.op(around.choose("Relu", "Neg", "Abs", "Identity", "Tanh", "Sigmoid"), value)
    elif kind == "binary":
        around.op(around.choose("Add", "Sub", "Mul", "Max"), value, around.choose(*values[shape]))
    elif kind == "transpose" and shape:
        around.op("Transpose", value, perm=around.draw(st.permutations(range(len(shape)))))
    elif kind == "reshape" and 0 not in shape:
        wanted = around.choose([-1], [1, -1], [*shape, 1], [1, *shape], [0, -1] if shape else [1])
        around.op("Reshape", value, around.constant(np.array(wanted), varies=False))
    elif kind == "concat" and shape:
        axis = around.draw(st.integers(-len(shape), len(shape) - 1))
        around.op("Concat", value, around.choose(*values[shape]), axis=axis)
    elif kind == "slice" and shape:
        ends = [np.array([around.choose(0, 1, -2)]), np.array([around.choose(2, 2**40, -1)])]
        axes = np.array([around.draw(st.integers(-len(shape), len(shape) - 1))])
        around.op("Slice", value, *(around.constant(item, varies=False) for item in (*ends, axes)))
    elif kind == "pad" and shape:
        pads = np.array(around.draw(st.lists(st.integers(0, 1), min_size=2 * len(shape), max_size=2 * len(shape))))
        around.op("Pad", value, around.constant(pads, varies=False))
    else:
        array = np.array(around.choose(1.0, 0.0, -1.0, 0.5), "f")
        around.op(around.choose("Add", "Mul", "Sub", "Div" if array else "Mul"), value, around.constant(array))
