from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import (
    Builder,
    DataType,
    element_type,
    has_one_use,
    is_op,
    rank,
)
from npuopt.passes.fuse.angle_layout import by_position, layout_of
from npuopt.passes.fuse.angles import one_per_pair
from npuopt.passes.fuse.rotation import Rotation, read_halves, read_partial, read_sum
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseRotaryEmbedding(NodePass):
    """A rotation of the pairs of the last axis by angles for each position becomes RotaryEmbedding.

    `x * cos + Concat(-b, a) * sin -> RotaryEmbedding(x, cos, sin)` with the halves a and b of x's last axis, or
    `Concat(a * cos - b * sin, b * cos + a * sin)`; with the even and odd places of x, put together again by
    Unsqueeze, Concat and Reshape, it is interleaved. The angles are computed or gathered as before, once for each pair.
    A rotation of the first part of the axis, joined with the rest, is the op's partial form.

    Left alone: other ranks than 4; an axis of unknown or odd length; angles that are not seen to be the same for both
    numbers of a pair, or differ between heads; double precision; inner values that are read elsewhere.
    """

    name = "fuse-rotary-embedding"
    op_types = ("Add", "Concat", "Reshape")
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the rotation that ends at `node`."""
        if is_op(node, "Concat") and (partial := read_partial(node)) is not None:
            return _widen(node, partial, edit)
        found = read_sum(node) if is_op(node, "Add") else read_halves(node)
        if found is None:
            return None
        if (reader := next((made for made in found.interior if not has_one_use(made.outputs[0])), None)) is not None:
            return Declined(f"the inner value {reader.outputs[0].name!r} is read elsewhere or is a graph output")
        if element_type(found.x) not in (DataType.FLOAT, DataType.FLOAT16, DataType.BFLOAT16):
            return Declined(f"it computes in {element_type(found.x)}")
        heads, other = layout_of(found.cosine, found.x), layout_of(found.sine, found.x)
        if heads is None or heads != other or rank(node.outputs[0]) != 4:
            return Declined("its angles differ between heads or repeat x, or their rank is not known")
        return _fuse(node, found, heads, edit)


def _fuse(node: Node, found: Rotation, heads: int, edit: Editor) -> Outcome:
    build = Builder(edit, node)
    angles = [found.cosine, found.sine]
    if found.doubled:
        cuts = [one_per_pair(value, interleaved=found.interleaved) for value in angles]
        if any(cut is None for cut in cuts):
            return Declined("its angles are not seen to be the same for both numbers of a pair")
        angles = [value for cut in cuts if cut is not None and (value := cut(build)) is not None]
    x = build("Transpose", found.x, perm=[0, 2, 1, 3]) if heads == 2 else found.x
    caches = [by_position(value, found.x, heads, build) for value in angles]
    result = build("RotaryEmbedding", x, *caches, interleaved=1 if found.interleaved else None)
    if heads == 2:
        result = build("Transpose", result, perm=[0, 2, 1, 3])
    edit.replace(node.outputs[0], result)
    for value in (node.outputs[0], *angles):  # angles without the axis of heads are read where they were made
        edit.erase_unread(value.producer())
    return Changed(f"{len(found.interior) + 1} nodes became RotaryEmbedding")


def _widen(node: Node, partial: tuple[Node, Value, int], edit: Editor) -> Outcome:
    turned, source, size = partial
    if not has_one_use(turned.outputs[0]):
        return Declined(f"the inner value {turned.outputs[0].name!r} is read elsewhere or is a graph output")
    attributes = {**turned.attributes, "rotary_embedding_dim": size}
    result = edit.emit("RotaryEmbedding", [source, *turned.inputs[1:]], attributes, before=node)
    edit.replace(node.outputs[0], result)
    edit.erase_unread(node)
    return Changed(f"turns the first {size} places of the last axis")
