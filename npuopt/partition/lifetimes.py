"""When each run-time tensor of a region lives."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import input_at, is_op, qualified_op_type, static_shape
from npuopt.partition.storage import overwrites

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from npuopt.graph import Node, Value
    from npuopt.partition.plan import Part
    from npuopt.partition.storage import Storage


@dataclass(frozen=True)
class Lifetime:
    """A buffer and the steps of its part over which it holds something, both included."""

    name: str
    bytes: int
    first: int
    last: int
    uses: int


def lifetimes(
    part: Part,
    order: Sequence[Node],
    storage: Storage,
    homes: Mapping[str, str],
    copied_inputs: Mapping[str, Sequence[int]],
) -> list[Lifetime]:
    """List the buffers of a part's run-time tensors, and the copies that ops read instead of some.

    Args:
        part: the region.
        order: its nodes that compute, as they run; shapes are static.
        storage: which tensors are one buffer.
        homes: buffers that are pieces of others; see `written_in_place`.
        copied_inputs: op -> run-time inputs of which it reads a copy.
    """
    recorder = _Recorder(storage, homes)
    copied = _copies(order, storage, copied_inputs)
    for value in part.input_values:
        recorder.touch(value, 0)
    for step, node in enumerate(order):
        for index, value in enumerate(node.inputs):
            recorder.touch(value, copied[node, index].first if (node, index) in copied else step)
        for value in node.outputs:
            recorder.touch(value, step)
    for value in part.output_values:
        recorder.touch(value, len(order))  # beyond the last step, so that nothing is written over it
    return [*recorder.result(order), *copied.values()]


def written_in_place(part: Part, order: Sequence[Node], storage: Storage) -> dict[str, str]:
    """Map buffers that a Concat alone reads to that of its result, into which their makers write.

    Left out, to be copied: what the region is given or gives, and views of another shape.
    """
    buffers = (storage.buffer(value) for node in order for value in node.inputs if value is not None)
    readers = Counter(held.name for held in buffers if held is not None)
    ends = {held.name for value in (*part.input_values, *part.output_values) if (held := storage.buffer(value))}
    shapes = {value.name: static_shape(value) for node in order for value in node.outputs}
    homes: dict[str, str] = {}
    for node in reversed(order):
        made = storage.buffer(node.outputs[0]) if is_op(node, "Concat") else None
        for value in node.inputs if made is not None else ():
            held = None if value is None else storage.buffer(value)
            if held is None or made is None or value is None or readers[held.name] > 1 or held.name in ends:
                continue
            if shapes.get(held.name) == static_shape(value):
                homes[held.name] = homes.get(made.name, made.name)
    return homes


class _Recorder:
    """Notes at which steps each buffer is read or written; a piece of another one counts as that."""

    def __init__(self, storage: Storage, homes: Mapping[str, str]) -> None:
        self.storage = storage
        self.homes = homes
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.uses: dict[str, int] = {}

    def touch(self, value: Value | None, step: int) -> None:
        """Note that a step reads or writes a tensor."""
        held = None if value is None else self.storage.buffer(value)
        if held is None:
            return
        name = self.homes.get(held.name, held.name)
        self.first.setdefault(name, step)
        self.last[name] = max(step, self.last.get(name, step))
        self.sizes[name] = max(held.bytes, self.sizes.get(name, 0))
        self.uses[name] = self.uses.get(name, 0) + 1

    def result(self, order: Sequence[Node]) -> list[Lifetime]:
        """Return what was noted; what is written over an operand begins a step later."""
        taken_over = _taken_over(order, self.storage, self.last)
        end = max(len(order) - 1, 0)
        begins = {name: min(step, end) + (name in taken_over) for name, step in self.first.items()}
        return [
            Lifetime(name, self.sizes[name], begin, min(self.last[name], end), self.uses[name])
            for name, begin in begins.items()
            if begin <= end
        ]


def _taken_over(order: Sequence[Node], storage: Storage, last: dict[str, int]) -> set[str]:
    """Name the buffers that begin in the place of an operand: they take no room of their own in their first step."""
    found: set[str] = set()
    for step, node in enumerate(order):
        if overwrites(node, storage, last, step) is not None:
            made = storage.buffer(node.outputs[0])
            if made is not None and last.get(made.name, step) > step:
                found.add(made.name)
    return found


def _copies(
    order: Sequence[Node], storage: Storage, inputs_of: Mapping[str, Sequence[int]]
) -> dict[tuple[Node, int], Lifetime]:
    """Find the copies that ops read instead of run-time operands, from behind the step that makes these.

    A Transpose makes such a copy itself. Of what the region is given, the copy is made in the op's own step.
    """
    made_at = {value.name: step for step, node in enumerate(order) for value in node.outputs}
    found: dict[tuple[Node, int], Lifetime] = {}
    for step, node in enumerate(order):
        for index in inputs_of.get(qualified_op_type(node), ()):
            value = input_at(node, index)
            held = None if value is None else storage.buffer(value)
            if held is None:
                continue
            made = made_at.get(held.name)
            if made is None or not is_op(order[made], "Transpose"):
                name, first = f"{node.outputs[0].name}/{held.name}", step if made is None else made + 1
                found[node, index] = Lifetime(name, held.bytes, first, step, 2)
    return found
