"""Transposes that move no data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from npuopt.graph import attribute_list, dims, static_shape
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FoldUnitTransposes(NodePass):
    """Transpose that moves only axes of size 1 becomes Reshape, which copies nothing.

    y = Transpose<perm = [0, 2, 1, 3]>(x), x: float[1, 1, 6, 32] -> y = Reshape(x, [1, 6, 1, 32])

    For the end of a pipeline: fusions look for the Transpose.

    Left alone: Transposes that keep the order of axes altogether, which are identities; shapes with free dims.
    """

    name: ClassVar[str] = "fold-unit-transposes"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    op_types: ClassVar[tuple[str, ...]] = ("Transpose",)

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Look at the axes that are not of size 1: their order must stay."""
        del target
        source = node.inputs[0]
        shape = dims(source)
        if source is None or shape is None:
            return None
        order = attribute_list(node, "perm", range(len(shape))[::-1])
        moved = [axis for axis in order if shape[axis] != 1]
        if order == sorted(order) or moved != sorted(moved):
            return None
        static = static_shape(source)
        if static is None:
            return Declined(f"its input's shape is {list(shape)}, not known in full")
        permuted = [static[axis] for axis in order]
        result = edit.constant(np.array(permuted, dtype=np.int64), near=node)
        zero = {"allowzero": 1} if 0 in permuted else {}
        edit.replace_node(node, edit.emit("Reshape", [source, result], zero, before=node))
        return Changed(f"is a Reshape to {permuted}")
