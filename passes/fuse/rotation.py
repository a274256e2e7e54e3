"""How a rotation of pairs is read off the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, integers, is_op, producer, rank
from npuopt.passes.fuse.sizes import size_of
from npuopt.passes.fuse.slices import part_of

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

LAST = 3
"""The axis of x that is turned."""


@dataclass(frozen=True)
class Rotation:
    """A rotation of the pairs of a value's last axis.

    Attributes:
        x: the value, of rank 4.
        cosine, sine: as the graph multiplies with them.
        interleaved: the numbers of a pair are neighbours; else they are half an axis apart.
        doubled: cosine and sine hold each number twice.
        interior: the nodes that do it, which nothing else may read.
    """

    x: Value
    cosine: Value
    sine: Value
    interleaved: bool
    doubled: bool
    interior: tuple[Node, ...]


def read_sum(node: Node) -> Rotation | None:
    """Read `x * cos + turned(x) * sin`."""
    for left, right in (tuple(node.inputs), tuple(node.inputs)[::-1]):
        plain, turned = producer(left, "Mul"), producer(right, "Mul")
        if plain is None or turned is None:
            continue
        for moved, sine in (tuple(turned.inputs), tuple(turned.inputs)[::-1]):
            found = _quarter_turn(moved)
            if found is None or found[0] not in plain.inputs or sine is None:
                continue
            x, interleaved, interior = found
            cosine = plain.inputs[1] if plain.inputs[0] is x else plain.inputs[0]
            if cosine is not None:
                return Rotation(x, cosine, sine, interleaved, doubled=True, interior=(plain, turned, *interior))
    return None


def _quarter_turn(value: Value | None) -> tuple[Value, bool, tuple[Node, ...]] | None:
    """Read `Concat(-b, a)`, or the same of pairs; return x, whether it is interleaved, and the nodes."""
    joined = _pair(value)
    if joined is None:
        return None
    first, second, interleaved, nodes = joined
    negative = producer(first, "Neg")
    if negative is None or negative.inputs[0] is None:
        return None
    x = _halves(second, negative.inputs[0], interleaved=interleaved)
    return None if x is None else (x, interleaved, (*nodes, negative))


def read_halves(node: Node) -> Rotation | None:
    """Read `Concat(a * cos - b * sin, b * cos + a * sin)`, or the same of pairs."""
    joined = _pair(node.outputs[0])
    if joined is None:
        return None
    real, imaginary, interleaved, nodes = joined
    less, total = producer(real, "Sub"), producer(imaginary, "Add")
    if less is None or total is None:
        return None
    products = [producer(value, "Mul") for value in (*less.inputs, *total.inputs)]
    known = [product for product in products if product is not None]
    if len(known) != 4:
        return None
    for a, cosine in _both_ways(known[0]):
        for b, sine in _both_ways(known[1]):
            wanted = [{b, cosine}, {a, sine}]
            crossed = [set(known[2].inputs), set(known[3].inputs)]
            x = _halves(a, b, interleaved=interleaved)
            if x is not None and crossed in (wanted, wanted[::-1]):
                interior = (*(made for made in nodes if made is not node), less, total, *known)
                return Rotation(x, cosine, sine, interleaved, doubled=False, interior=interior)
    return None


def _both_ways(product: Node) -> list[tuple[Value, Value]]:
    left, right = product.inputs
    return [] if left is None or right is None else [(left, right), (right, left)]


def _pair(value: Value | None) -> tuple[Value, Value, bool, tuple[Node, ...]] | None:
    """Return two values that are put side by side along the last axis: whole, or number by number (interleaved)."""
    node = producer(value, "Concat", "Reshape")
    if node is None:
        return None
    interleaved = is_op(node, "Reshape")
    joined = producer(node.inputs[0], "Concat") if interleaved else node
    depth = rank(joined.outputs[0]) if joined is not None else None
    if joined is None or depth is None or len(joined.inputs) != 2 or attribute(joined, "axis", 0) % depth != depth - 1:
        return None
    first, second = joined.inputs
    if not interleaved:
        return None if first is None or second is None else (first, second, False, (node,))
    lifted = [producer(item, "Unsqueeze") for item in (first, second)]
    made = [item for item in lifted if item is not None and integers(input_at(item, 1)) in ([-1], [depth - 1])]
    inner = [item.inputs[0] for item in made if item.inputs[0] is not None]
    if len(inner) != 2 or not _flattens_pairs(node, inner[0]):
        return None
    return inner[0], inner[1], True, (node, joined, *made)


def _flattens_pairs(node: Node, half: Value) -> bool:
    """Say whether the Reshape `node` joins the last axis of `half` with the axis of pairs behind it."""
    size = size_of(half, -1) if rank(half) == rank(node.outputs[0]) == LAST + 1 else None
    whole = [size_of(node.outputs[0], axis) for axis in range(4)] if size is not None else []
    same = [whole[axis] == size_of(half, axis) for axis in range(3)] if whole else []
    return isinstance(size, int) and whole[LAST] == 2 * size and sum(same) >= 2


def _halves(first: Value, second: Value, *, interleaved: bool) -> Value | None:
    """Return the value whose last axis has these as its halves, or as its even and odd places."""
    one, other = part_of(first, LAST), part_of(second, LAST)
    size = size_of(one.source, LAST) if one is not None and rank(one.source) == LAST + 1 else None
    if one is None or other is None or one.source is not other.source or not isinstance(size, int) or size % 2:
        return None
    every = range(size)
    wanted = (every[::2], every[1::2]) if interleaved else (every[: size // 2], every[size // 2 :])
    return one.source if size and (one.places, other.places) == wanted else None


def read_partial(node: Node) -> tuple[Node, Value, int] | None:
    """Return the rotation of the first places of a value that `node` joins with the rest, the value, and how many."""
    turned = producer(input_at(node, 0), "RotaryEmbedding")
    if turned is None or len(node.inputs) != 2 or attribute(node, "axis", 0) % 4 != LAST:
        return None
    x, rest = turned.inputs[0], node.inputs[1]
    if x is None or rest is None or rank(x) != 4 or attribute(turned, "rotary_embedding_dim", 0):
        return None
    front, back = part_of(x, LAST), part_of(rest, LAST)
    if front is None or back is None or front.source is not back.source:
        return None
    size, cut = size_of(front.source, LAST), len(front.places)
    whole = isinstance(size, int) and (front.places, back.places) == (range(cut), range(cut, size))
    return (turned, front.source, cut) if whole else None
