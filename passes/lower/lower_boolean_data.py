from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from npuopt.graph import Builder, DataType, element_type
from npuopt.pipeline import Changed, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node

MOVING = (
    *("Concat", "Expand", "Flatten", "Gather", "GatherElements", "Identity", "Pad", "Reshape", "Slice", "Split"),
    *("Squeeze", "Tile", "Transpose", "Unsqueeze", "ReduceMax", "ReduceMin"),
)
"""Ops that move their data, or pick of it."""
KINDS = ("uint8", "int32", "float32")


@dataclass(frozen=True)
class LowerBooleanData(Lowering):
    """What moves booleans moves numbers between two Casts.

    `Transpose(x) -> Cast<bool>(Transpose(Cast<uint8>(x)))`; of the types in `kind` a target takes one or another.

    Left alone: other types than bool.

    Attributes:
        kind: what the booleans become: uint8, int32 or float32.
    """

    name = "lower-boolean-data"
    op_types = MOVING
    produces = frozenset({*MOVING, "Cast"})

    kind: str = "uint8"

    def forms(self) -> tuple[LowerBooleanData, ...]:
        """Return the lowering to each of the types."""
        return tuple(replace(self, kind=kind) for kind in KINDS)

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace `node` by the same op of numbers."""
        build = Builder(edit, node)
        if build.type != DataType.BOOL:
            return None
        number = DataType[{"uint8": "UINT8", "int32": "INT32", "float32": "FLOAT"}[self.kind]]
        inputs = [
            build("Cast", value, to=number) if element_type(value) == DataType.BOOL else value for value in node.inputs
        ]
        results = build.many(node.op_type, len(node.outputs), *inputs, **node.attributes)
        edit.replace_node(node, *(build("Cast", value, to=DataType.BOOL) for value in results))
        return Changed(f"became {', '.join(build.emitted)}")
