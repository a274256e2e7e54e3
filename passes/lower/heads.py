"""Tensors of heads, as inputs of Attention hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, input_at, static_shape

if TYPE_CHECKING:
    from npuopt.graph import Node, Value


@dataclass(frozen=True)
class Heads:
    """A tensor of heads: [batch, heads, length, size]."""

    value: Value
    batch: int
    heads: int
    length: int
    size: int


def heads_of(node: Node, index: int, count: int, build: Builder) -> Heads:
    """Return an input of the node as heads; one of rank 3 has them side by side in its last axis."""
    value, shape = node.inputs[index], static_shape(node.inputs[index]) or ()
    assert value is not None  # noqa: S101 -- inputs 0 to 2 are not optional
    if len(shape) == 3:
        batch, length, width = shape
        value = build("Reshape", value, build.integers(batch, length, count, width // count))
        return Heads(build("Transpose", value, perm=[0, 2, 1, 3]), batch, count, length, width // count)
    return Heads(value, *shape)


def with_past(heads: Heads, node: Node, index: int, build: Builder) -> Heads:
    """Return the heads behind those of the past that the node reads as input `index`, if it does."""
    past, shape = input_at(node, index), static_shape(input_at(node, index))
    if past is None or shape is None:
        return heads
    together = build("Concat", past, heads.value, axis=2)
    return Heads(together, heads.batch, heads.heads, heads.length + shape[2], heads.size)
