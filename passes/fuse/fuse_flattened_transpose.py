from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute_list, dims, input_at, producer
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.passes.fuse.sizes import Dim
    from npuopt.target import Target

SWAP = [0, 2, 1]


@dataclass(frozen=True)
class FuseFlattenedTranspose(NodePass):
    """A matrix transposition between two Reshapes that join and part the leading axes becomes one Transpose.

    `Reshape(Transpose<perm = [0, 2, 1]>(Reshape(x, [-1, m, n])), [a, b, n, m]) -> Transpose<perm = [0, 1, 3, 2]>(x)`
    with x of shape [a, b, m, n]; torch's exporter writes the keys of an attention so.

    Left alone: other orders of axes; leading axes of which more than one may come out in another length.
    """

    name = "fuse-flattened-transpose"
    op_types = ("Reshape",)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse what ends at the Reshape `node`."""
        turned = producer(input_at(node, 0), "Transpose")
        joined = producer(input_at(turned, 0), "Reshape") if turned is not None else None
        if turned is None or joined is None or attribute_list(turned, "perm") != SWAP:
            return None
        source = input_at(joined, 0)
        before, flat = dims(source), dims(joined.outputs[0])
        turned_dims, after = dims(turned.outputs[0]), dims(node.outputs[0])
        if source is None or before is None or flat is None or turned_dims is None or after is None:
            return Declined("a rank is not known")
        if len(before) < 3 or len(before) != len(after):
            return None
        if not (_same(before[-2:], flat[-2:]) and _same(after[-2:], turned_dims[-2:])):
            return Declined(f"its Reshapes from {list(before)} to {list(after)} may change the matrices")
        unequal = sum(not _same((one,), (other,)) for one, other in zip(before[:-2], after[:-2], strict=True))
        if unequal > 1 or 0 in before or 0 in after:
            return Declined(f"the leading axes of {list(before)} and {list(after)} may differ")
        depth = len(before)
        order = [*range(depth - 2), depth - 1, depth - 2]
        edit.replace(node.outputs[0], edit.emit("Transpose", [source], {"perm": order}, before=node))
        edit.erase_unread(node)
        return Changed(f"became Transpose to {order}")


def _same(these: tuple[Dim, ...], those: tuple[Dim, ...]) -> bool:
    return these == those and None not in these
