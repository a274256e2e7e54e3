from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Builder, DataType, constant, element_type, producer
from npuopt.passes.lower.integer_ranges import fits, integer_range
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value

EVERY = (
    *("Abs", "Add", "Concat", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod"),
    *("Mul", "Neg", "Sub"),
)
"""Ops all of whose inputs are data."""
FIRST = (
    *("Expand", "Flatten", "Gather", "GatherElements", "Identity", "ReduceMax", "ReduceMin", "Reshape", "Slice"),
    *("Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
"""Ops whose first input is data, and the others say what to do with it."""


@dataclass(frozen=True)
class LowerWideIntegers(Lowering):
    """An op on integers of 64 bits becomes one on 32 bits where they are proven to hold all its numbers.

    `Add(x, y) -> Cast<int64>(Add(Cast<int32>(x), Cast<int32>(y)))`, where Casts between two such ops fall away. The
    proof goes from constants, narrower types, shapes and positions through what moves and combines them. It is done
    where it is asked for by name: legalization looks at one node, which says nothing of where its inputs come from.

    Left alone: ops without data of 64 bits; inputs or results that are not proven to fit into 32 bits.
    """

    name = "lower-wide-integers"
    op_types = (*EVERY, *FIRST, "Where")
    produces = frozenset({*EVERY, *FIRST, "Where", "Cast"})

    def forms(self) -> tuple[LowerWideIntegers, ...]:
        """Return nothing: one node alone proves nothing."""
        return ()

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace `node` by the same op of 32 bits."""
        places = {"Where": range(1, 3)}.get(node.op_type, range(1 if node.op_type in FIRST else len(node.inputs)))
        data = [place for place in places if element_type(node.inputs[place]) == DataType.INT64]
        if not data:
            return None
        values = [node.inputs[place] for place in data]
        values += [output for output in node.outputs if element_type(output) == DataType.INT64]
        wide = next((value for value in values if not fits(integer_range(value), 32)), None)
        if wide is not None:
            return Declined(f"{wide.name!r} is not proven to fit into 32 bits")
        build = Builder(edit, node)
        inputs = [_narrow(value, build) if place in data else value for place, value in enumerate(node.inputs)]
        results = build.many(node.op_type, len(node.outputs), *inputs, **node.attributes)
        kinds = [element_type(output) for output in node.outputs]
        edit.replace_node(
            node,
            *(
                build("Cast", new, to=DataType.INT64) if kind == DataType.INT64 else new
                for new, kind in zip(results, kinds, strict=True)
            ),
        )
        for value in values:
            edit.erase_unread(producer(value, "Cast"))
        return Changed(f"became {', '.join(build.emitted)}")


def _narrow(value: Value | None, build: Builder) -> Value:
    known, maker = constant(value), producer(value, "Cast")
    if known is not None:
        return build.edit.constant(known.astype(np.int32), near=build.node)
    source = maker.inputs[0] if maker is not None else None
    return (
        source
        if source is not None and element_type(source) == DataType.INT32
        else build("Cast", value, to=DataType.INT32)
    )
