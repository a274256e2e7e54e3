from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, attribute_list, input_at, integers, producer, static_shape, users
from npuopt.passes.lower.axes import SMALL, merge_neighbours
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseReshapedTranspose(NodePass):
    """A Transpose of high rank between Reshapes becomes one over the fewest axes, as a shuffle of channels is written.

    `Reshape(Transpose<perm = [0, 2, 1, 3, 4]>(Reshape(x, [1, g, c, h, w])), s)
    -> Reshape(Transpose<perm = [1, 0, 2]>(Reshape(x, [g, c, h * w])), s)`: axes that stay neighbours are taken as one,
    axes of length 1 are left out. `lower-transpose-rank` does so to a Transpose alone, between Reshapes of that rank.

    Left alone: a rank of 4 and below; a result that others than Reshapes read; shapes that are not constant or have no
    elements; what is still of a rank above 4.
    """

    name = "fuse-reshaped-transpose"
    op_types = ("Transpose",)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Let the Transpose `node` move blocks of axes."""
        spread = producer(input_at(node, 0), "Reshape")
        source = input_at(spread, 0) if spread is not None else None
        order = attribute_list(node, "perm")
        if source is None or len(order) <= SMALL:
            return None
        turned = node.outputs[0]
        readers = users(turned)
        if turned.is_graph_output() or not readers or any(reader.op_type != "Reshape" for reader in readers):
            return Declined("others than Reshapes read it")
        shape = static_shape(node.inputs[0])
        asked = [integers(input_at(reader, 1)) for reader in readers]
        if shape is None or 0 in shape:
            return Declined("its shape is not static or has no elements")
        if any(sizes is None or 0 in sizes for sizes in asked):
            return Declined("the shape of a Reshape behind it is not constant, or copies a dim")
        sizes, merged = merge_neighbours(shape, order)
        if len(sizes) > SMALL:
            return Declined(f"it moves {len(sizes)} blocks of axes")
        build = Builder(edit, node)
        moved = build("Transpose", build("Reshape", source, build.integers(*sizes)), perm=merged)
        for reader in readers:
            edit.replace(reader.outputs[0], edit.emit("Reshape", [moved, *reader.inputs[1:]], before=reader))
            edit.erase_unread(reader)
        edit.erase_unread(node)
        return Changed(f"moves {len(sizes)} blocks instead of {len(order)} axes")
