"""What the lowerings of recurrent layers share: directions, steps, initial states and results."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from npuopt.graph import Builder, attribute, constant, input_at, static_shape
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value

WEIGHT, RECURRENCE, BIAS, LENGTHS, HIDDEN = 1, 2, 3, 4, 5
"""Positions of inputs; that of the cell follows that of the hidden state."""
BATCH_FIRST = [1, 0, 2]


class Run:
    """One direction of a recurrent layer.

    Attributes:
        build: emits ahead of the layer.
        node: the layer.
        direction: index of it in the layer's weights.
        hidden: size of a state.
        recurrence: [gates * hidden, hidden].
        recurrent_bias: [gates * hidden], not in `inputs`; zeros where the layer has no bias.
    """

    def __init__(self, lowering: RecurrentLowering, node: Node, x: Value, direction: int, build: Builder) -> None:
        weight, recurrence, bias = (constant(input_at(node, index)) for index in (WEIGHT, RECURRENCE, BIAS))
        assert weight is not None  # noqa: S101 -- the node has been refused otherwise
        assert recurrence is not None  # noqa: S101 -- as above
        self.build = build
        self.node = node
        self.direction = direction
        self.hidden = recurrence.shape[2]
        self.length, self.batch, _ = static_shape(x) or (0, 0, 0)
        self.recurrence = recurrence[direction]
        both = np.zeros((2, len(self.recurrence))) if bias is None else bias[direction].reshape(2, -1)
        at_once, self.recurrent_bias = lowering.biases(node, both)
        inputs = build("MatMul", x, build.array(weight[direction].T))
        if bias is not None:
            inputs = build("Add", inputs, build.array(at_once))
        self.inputs = build("Reshape", inputs, build.integers(self.length, self.batch, -1))
        self.start = [self._initial(HIDDEN + index, direction) for index in range(lowering.states)]

    def matrix(self, start: int, stop: int) -> Value:
        """Return the recurrence of some gates, transposed."""
        return self.build.array(self.recurrence[start * self.hidden : stop * self.hidden].T)

    def at(self, step: int) -> Value:
        """Return what the inputs of one step add to the gates: [batch, gates * hidden]."""
        inputs = _at(self.inputs, step, self.build) if self.length > 1 else self.inputs
        return self.build("Reshape", inputs, self.build.integers(self.batch, -1))

    def split(self, value: Value, *gates: int) -> tuple[Value, ...]:
        """Split the last axis into parts of so many gates each."""
        sizes = self.build.integers(*(count * self.hidden for count in gates))
        return self.build.many("Split", len(gates), value, sizes, axis=-1)

    def _initial(self, index: int, direction: int) -> Value:
        given = input_at(self.node, index)
        if given is None:
            return self.build.array(np.zeros((self.batch, self.hidden)))
        if attribute(self.node, "layout", 0):
            given = self.build("Transpose", given, perm=BATCH_FIRST)
        shape = static_shape(given)
        one = given if shape is not None and shape[0] == 1 else _at(given, direction, self.build)
        return self.build("Reshape", one, self.build.integers(self.batch, self.hidden))


@dataclass(frozen=True)
class RecurrentLowering(Lowering):
    """A lowering that writes a recurrent layer's steps one after the other.

    Attributes:
        longest: the most steps; each costs several nodes.
        attributes: those that the steps take account of.
        states: what a step hands to the next: the hidden state, and that of the cell.
    """

    attributes: ClassVar[frozenset[str]]
    states: ClassVar[int]

    longest: int = 64

    @abstractmethod
    def steps(self, run: Run, order: list[int]) -> list[list[Value]]:
        """Emit all steps in this order and return the states after each."""

    @abstractmethod
    def biases(self, node: Node, both: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what can be added to the inputs at once, and what is left for each step."""

    def refusal(self, node: Node) -> str:
        """Return why the steps would not be those of `node`, or an empty string."""
        strange = sorted(set(node.attributes) - self.attributes - {"direction", "hidden_size", "layout"})
        if strange:
            return f"it has the attribute {strange[0]}"
        if any(value is not None and constant(value) is None for value in node.inputs[1:4]):
            return "its weights or biases are not constant"
        shape = static_shape(input_at(node, 0))
        if shape is None or 0 in shape:
            return "the shape of its input is not static, or has no elements"
        steps = shape[1 if attribute(node, "layout", 0) else 0]
        if steps > self.longest:
            return f"its sequence of {steps} steps is longer than {self.longest}"
        lengths = input_at(node, LENGTHS)
        known = constant(lengths)
        if lengths is not None and (known is None or (known != steps).any()):
            return "it has lengths of sequences"
        return ""

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace `node` by its steps."""
        if why := self.refusal(node):
            return Declined(why)
        build, batch_first = Builder(edit, node), bool(attribute(node, "layout", 0))
        x = node.inputs[0]
        assert x is not None  # noqa: S101 -- input 0 is not optional
        x = build("Transpose", x, perm=BATCH_FIRST) if batch_first else x
        length, batch, _ = static_shape(x) or (0, 0, 0)
        ways = {"forward": (False,), "reverse": (True,)}.get(attribute(node, "direction", "forward"), (False, True))
        runs: list[list[list[Value]]] = []
        for direction, reverse in enumerate(ways):
            order = list(range(length))[::-1] if reverse else list(range(length))
            runs.append(self.steps(Run(self, node, x, direction, build), order))
        ordered = [run[::-1] if reverse else run for run, reverse in zip(runs, ways, strict=True)]
        for index, output in enumerate(node.outputs):
            if output.uses() or output.is_graph_output():
                size = build.integers(*((length, 1) if index == 0 else (1,)), batch, -1)
                parts = [
                    run[-1][index - 1] if index else _joined([item[0] for item in in_order], 0, build)
                    for run, in_order in zip(runs, ordered, strict=True)
                ]
                value = _joined([build("Reshape", part, size) for part in parts], 0 if index else 1, build)
                if batch_first:
                    value = build("Transpose", value, perm=BATCH_FIRST if index else [2, 0, 1, 3])
                edit.replace(output, value)
        edit.erase(node)
        return Changed(f"became {length} steps in {len(runs)} direction{'s' * (len(runs) > 1)}")


def _at(value: Value, index: int, build: Builder) -> Value:
    """Return one slice of axis 0, which stays with length 1."""
    return build("Slice", value, build.integers(index), build.integers(index + 1), build.integers(0))


def _joined(values: list[Value], axis: int, build: Builder) -> Value:
    return values[0] if len(values) == 1 else build("Concat", *values, axis=axis)
