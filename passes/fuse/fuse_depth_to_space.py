from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from npuopt.graph import dims
from npuopt.passes.fuse.blocks import read_blocks
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target

ORDERS: dict[tuple[int, ...], tuple[str, int, int]] = {
    (0, 1, 4, 2, 5, 3): ("CRD", 2, 3),
    (0, 3, 4, 1, 5, 2): ("DCR", 1, 2),
}
"""Order of the axes -> the op's mode, and which two of them are the block's."""


@dataclass(frozen=True)
class FuseDepthToSpace(NodePass):
    """A Reshape, Transpose and Reshape that lay channels out as blocks of pixels become DepthToSpace.

    `Reshape(Transpose<perm = [0, 1, 4, 2, 5, 3]>(Reshape(x, [n, c, b, b, h, w])), [n, c, h * b, w * b]) ->
    DepthToSpace<blocksize = b, mode = "CRD">(x)`, as torch's pixel_shuffle is exported; with the block ahead of the
    channels it is mode DCR.

    Left alone: blocks that are not square; other orders of axes; channels, heights or widths that are not known;
    inner values that are read elsewhere; other types than float and double.
    """

    name = "fuse-depth-to-space"
    op_types = ("Reshape",)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the move that ends at the Reshape `node`."""
        found = read_blocks(node)
        if found is None or isinstance(found, Declined):
            return found
        source, between, order = found
        if order not in ORDERS:
            return None
        mode, high, wide = ORDERS[order]
        block, height, width = (cast("int", between[axis]) for axis in (high, 4, 5))
        if block != between[wide] or (dims(node.outputs[0]) or ())[2:] != (height * block, width * block):
            return Declined(f"its blocks of {block} by {between[wide]} are not square, or joined in another way")
        if (dims(source) or ())[2:] != (height, width):
            return Declined("its first Reshape does not part channels alone")
        attributes = {"blocksize": block, "mode": mode}
        edit.replace(node.outputs[0], edit.emit("DepthToSpace", [source], attributes, before=node))
        edit.erase_unread(node)
        return Changed(f"became DepthToSpace in blocks of {block}")
