from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from npuopt.graph import dims
from npuopt.passes.fuse.blocks import read_blocks
from npuopt.passes.fuse.channel_order import reorder, why_not_reordered
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target

BLOCK_FIRST = (0, 3, 5, 1, 2, 4)
CHANNEL_FIRST = (0, 1, 3, 5, 2, 4)


@dataclass(frozen=True)
class FuseSpaceToDepth(NodePass):
    """A Reshape, Transpose and Reshape that put blocks of pixels into channels become SpaceToDepth.

    `Reshape(Transpose<perm = [0, 3, 5, 1, 2, 4]>(Reshape(x, [n, c, h, b, w, b])), [n, b * b * c, h, w]) ->
    SpaceToDepth<blocksize = b>(x)`; channels ahead of the block, as torch's pixel_unshuffle has them, where only
    convolutions with constant weights read them, whose weights are put in the op's order

    Left alone: blocks that are not square; channels ahead of the block for other readers; heights or widths that are
    not known; inner values that are read elsewhere; other types than float and double.
    """

    name = "fuse-space-to-depth"
    op_types = ("Reshape",)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the move that ends at the Reshape `node`."""
        found = read_blocks(node)
        if found is None or isinstance(found, Declined):
            return found
        source, between, order = found
        if order not in (BLOCK_FIRST, CHANNEL_FIRST):
            return None
        channels, height, block, width = (cast("int", between[axis]) for axis in (1, 2, 3, 4))
        if block != between[5] or (dims(node.outputs[0]) or ())[1:] != (channels * block * block, height, width):
            return Declined(f"its blocks of {block} by {between[5]} are not square, or joined in another way")
        if (dims(source) or ())[1:] != (channels, height * block, width * block):
            return Declined("its first Reshape does not part rows and columns alone")
        area = block * block
        places = range(channels * area)
        moved = [place % area * channels + place // area for place in places] if order == CHANNEL_FIRST else places
        if why := why_not_reordered(node.outputs[0], moved):
            return Declined(why)
        reorder(node.outputs[0], edit.emit("SpaceToDepth", [source], {"blocksize": block}, before=node), moved, edit)
        edit.erase_unread(node)
        return Changed(f"became SpaceToDepth in blocks of {block}")
