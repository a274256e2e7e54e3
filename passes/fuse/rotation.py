"""How a rotation of pairs is read off the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, producer, rank
from npuopt.passes.fuse.rotated_pairs import LAST, joined_pair, split_pair
from npuopt.passes.fuse.sizes import size_of
from npuopt.passes.fuse.slices import part_of

if TYPE_CHECKING:
    from npuopt.graph import Node, Value


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
    joined = joined_pair(value)
    if joined is None:
        return None
    first, second, interleaved, nodes = joined
    negative = producer(first, "Neg")
    if negative is None or negative.inputs[0] is None:
        return None
    x = split_pair(second, negative.inputs[0], interleaved=interleaved)
    return None if x is None else (x, interleaved, (*nodes, negative))


def read_halves(node: Node) -> Rotation | None:
    """Read `Concat(a * cos - b * sin, b * cos + a * sin)`, or the same of pairs."""
    joined = joined_pair(node.outputs[0])
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
            x = split_pair(a, b, interleaved=interleaved)
            if x is not None and crossed in (wanted, wanted[::-1]):
                interior = (*(made for made in nodes if made is not node), less, total, *known)
                return Rotation(x, cosine, sine, interleaved, doubled=False, interior=interior)
    return None


def _both_ways(product: Node) -> list[tuple[Value, Value]]:
    left, right = product.inputs
    return [] if left is None or right is None else [(left, right), (right, left)]


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
