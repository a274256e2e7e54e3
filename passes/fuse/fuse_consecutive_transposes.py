from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute_list, input_at, producer, rank
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseConsecutiveTransposes(NodePass):
    """Two Transposes in a row become one, or none when the second takes back the first.

    `Transpose<perm = q>(Transpose<perm = p>(x)) -> Transpose<perm = p[q]>(x)`; the first stays for its other readers.

    Left alone: a reversal of axes whose number is not known.
    """

    name = "fuse-consecutive-transposes"
    op_types = ("Transpose",)
    repeat = True
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Let `node` read what the Transpose before it reads."""
        first = producer(input_at(node, 0), "Transpose")
        source = input_at(first, 0) if first is not None else None
        if first is None or source is None:
            return None
        inner, outer = _order(first), _order(node)
        if inner is None or outer is None:
            return Declined("the number of axes is not known")
        order = [inner[axis] for axis in outer]
        if order == sorted(order):
            edit.replace(node.outputs[0], source)
            edit.erase_unread(node)
            return Changed("took back the Transpose before it")
        edit.replace(node.outputs[0], edit.emit("Transpose", [source], {"perm": order}, before=node))
        edit.erase_unread(node)
        return Changed(f"became one Transpose to {order}")


def _order(node: Node) -> list[int] | None:
    given = attribute_list(node, "perm")
    depth = rank(input_at(node, 0))
    return given or (None if depth is None else list(reversed(range(depth))))
