from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

END = 2**31 - 1


@dataclass(frozen=True)
class LowerRotaryEmbedding(FormulaLowering):
    """RotaryEmbedding becomes the rotation of pairs by sines and cosines.

    `RotaryEmbedding(x, cos, sin, positions) -> Concat(a * c - b * s, a * s + b * c)` with the halves a and b of x's
    last axis (or its even and odd places, when `interleaved`), c and s the caches gathered at the positions

    Left alone: shapes of x that are not static; ranks other than 3 and 4.
    """

    name = "lower-rotary-embedding"
    op_types = ("RotaryEmbedding",)
    produces = frozenset({"Add", "Concat", "Gather", "Mul", "Reshape", "Slice", "Sub", "Transpose", "Unsqueeze"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the rotated x."""
        shape = static_shape(x)
        if shape is None or len(shape) not in (3, 4) or 0 in shape:
            return Declined("the shape of x is not static, or of another rank than 3 or 4")
        heads, flat = attribute(node, "num_heads", 0), len(shape) == 3
        if flat and (heads == 0 or shape[2] % heads):
            return Declined(f"{heads} heads do not divide the width {shape[2]}")
        value = x
        if flat:  # [batch, sequence, heads * size] -> [batch, sequence, heads, size]
            value = build("Reshape", x, build.integers(*shape[:2], heads, -1))
        size = shape[2] // heads if flat else shape[3]
        turned = attribute(node, "rotary_embedding_dim", 0) or size
        cosine, sine = (_at_positions(node, index, build, over_heads=2 if flat else 1) for index in (1, 2))
        rotated = _rotated(
            _part(value, 0, turned, 1, build) if turned < size else value, turned, cosine, sine, node, build
        )
        if turned < size:
            rotated = build("Concat", rotated, _part(value, turned, END, 1, build), axis=-1)
        return build("Reshape", rotated, build.integers(*shape)) if flat else rotated


def _at_positions(node: Node, index: int, build: Builder, *, over_heads: int) -> Value:
    """Return a cache as [batch, sequence, half] with an axis of length 1 for the heads."""
    cache, positions = input_at(node, index), input_at(node, 3)
    if positions is not None:
        cache = build("Gather", cache, positions, axis=0)
    return build("Unsqueeze", cache, build.integers(over_heads))


def _rotated(value: Value, turned: int, cosine: Value, sine: Value, node: Node, build: Builder) -> Value:
    interleaved = attribute(node, "interleaved", 0)
    if interleaved:
        first, second = _part(value, 0, END, 2, build), _part(value, 1, END, 2, build)
    else:
        first, second = _part(value, 0, turned // 2, 1, build), _part(value, turned // 2, END, 1, build)
    real = build("Sub", build("Mul", first, cosine), build("Mul", second, sine))
    imaginary = build("Add", build("Mul", first, sine), build("Mul", second, cosine))
    if not interleaved:
        return build("Concat", real, imaginary, axis=-1)
    last = build.integers(4)
    pairs = build("Concat", build("Unsqueeze", real, last), build("Unsqueeze", imaginary, last), axis=-1)
    return build("Reshape", pairs, build.integers(0, 0, 0, turned))


def _part(value: Value, start: int, end: int, step: int, build: Builder) -> Value:
    """Return a slice of the last axis."""
    bounds = [build.integers(number) for number in (start, end, -1, step)]
    return build("Slice", value, *bounds)
