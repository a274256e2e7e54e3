"""Casts on the way to another cast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import DataType, element_type, input_at, producer
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target

EXACT_INTEGERS = {
    DataType.FLOAT16: 11,
    DataType.BFLOAT16: 8,
    DataType.FLOAT: 24,
    DataType.DOUBLE: 53,
}
"""Float type -> bits of the integers that it holds exactly."""

INTEGERS = {
    DataType.BOOL: (0, 1),
    DataType.UINT8: (0, 8),
    DataType.INT8: (1, 7),
    DataType.UINT16: (0, 16),
    DataType.INT16: (1, 15),
    DataType.UINT32: (0, 32),
    DataType.INT32: (1, 31),
    DataType.UINT64: (0, 64),
    DataType.INT64: (1, 63),
}
"""Integer type -> bits of its sign and of its magnitude."""

WIDER_FLOATS = {
    DataType.FLOAT16: (DataType.FLOAT, DataType.DOUBLE),
    DataType.BFLOAT16: (DataType.FLOAT, DataType.DOUBLE),
    DataType.FLOAT: (DataType.DOUBLE,),
}


@dataclass(frozen=True)
class FoldConsecutiveCasts(NodePass):
    """Cast of a Cast that lost nothing becomes one Cast, or none.

    y = Cast<to = int64>(Cast<to = int32>(x)), x: int8 -> y = Cast<to = int64>(x)
    y = Cast<to = float>(Cast<to = double>(x)), x: float -> x

    Left alone: a first Cast to a type that does not hold every value of its input, which rounds, wraps or saturates.
    """

    name: ClassVar[str] = "fold-consecutive-casts"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    op_types: ClassVar[tuple[str, ...]] = ("Cast",)
    repeat: ClassVar[bool] = True

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Look at the Cast that makes what is cast."""
        del target
        first = producer(input_at(node, 0), "Cast")
        source = input_at(first, 0) if first is not None else None
        if first is None or source is None:
            return None
        before, between, after = (element_type(value) for value in (source, first.outputs[0], node.outputs[0]))
        if before is None or between is None or after is None:
            return None
        if not _holds(between, before):
            return Declined(f"{between.name.lower()} does not hold every {before.name.lower()}")
        if before == after and not node.outputs[0].is_graph_output():
            edit.replace_node(node, source)
            edit.erase_unread(first)
            return Changed(f"is {before.name.lower()} again")
        edit.replace_node(node, edit.emit("Cast", [source], node.attributes, before=node, name=node.name or ""))
        edit.erase_unread(first)
        return Changed(f"casts from {before.name.lower()} at once")


def _holds(wide: DataType, narrow: DataType) -> bool:
    """Say whether each value of `narrow` is one of `wide`."""
    if wide == narrow or wide in WIDER_FLOATS.get(narrow, ()):
        return True
    if narrow not in INTEGERS:
        return False
    sign, bits = INTEGERS[narrow]
    if wide in EXACT_INTEGERS:
        return bits <= EXACT_INTEGERS[wide]
    wide_sign, wide_bits = INTEGERS.get(wide, (0, 0))
    return wide != DataType.BOOL and wide_sign >= sign and wide_bits >= bits
