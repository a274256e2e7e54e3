from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Builder, attribute, dims, input_at, rank
from npuopt.passes.lower.windows import sliced
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node


@dataclass(frozen=True)
class LowerSplit(Lowering):
    """Split becomes one Slice for each part.

    `Split<axis>(x, [a, b]) -> Slice(x, 0, a), Slice(x, a, a + b)`

    Left alone: parts whose length is not known.
    """

    name = "lower-split"
    op_types = ("Split",)
    produces = frozenset({"Slice"})

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace every part that is read."""
        x, build = input_at(node, 0), Builder(edit, node)
        depth, axis = rank(x), attribute(node, "axis", 0)
        if x is None or depth is None:
            return Declined("the rank of its input is not known")
        lengths = [(dims(output) or (None,) * depth)[axis] for output in node.outputs]
        known = [length for length in lengths if isinstance(length, int)]
        if len(known) < len(lengths):
            return Declined("the lengths of its parts are not known")
        ends = np.cumsum(known).tolist()
        parts = [
            sliced(x, axis, end - length, end, build) if output.uses() or output.is_graph_output() else None
            for output, end, length in zip(node.outputs, ends, known, strict=True)
        ]
        for output, part in zip(node.outputs, parts, strict=True):
            if part is not None:
                edit.replace(output, part)
        edit.erase(node)
        return Changed(f"became {', '.join(build.emitted)}")
