from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Builder, attribute, constant, input_at, static_shape
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value

WEIGHT, RECURRENCE, BIAS, LENGTHS, HIDDEN, CELL, PEEPHOLES = 1, 2, 3, 4, 5, 6, 7
"""Positions of inputs."""
ATTRIBUTES = {"direction", "hidden_size", "layout", "input_forget"}


@dataclass(frozen=True)
class LowerLstm(Lowering):
    """LSTM over a short sequence becomes its cells, one after the other.

    `LSTM(x, w, r, b, , h, c) -> for each step: i, o, f, g = Split(MatMul(x_t, w) + MatMul(h, r) + b);
    c = Sigmoid(f) * c + Sigmoid(i) * Tanh(g); h = Sigmoid(o) * Tanh(c)`; the products with the inputs of all steps
    are one MatMul.

    Left alone: sequences longer than `longest`; shapes that are not static; weights or biases given at run time;
    lengths given for each sequence; peepholes, clipping, other activations; the layout with the batch first.

    Attributes:
        longest: each step costs some fifteen nodes.
    """

    name = "lower-lstm"
    op_types = ("LSTM",)
    produces = frozenset({"Add", "Concat", "MatMul", "Mul", "Reshape", "Sigmoid", "Slice", "Split", "Tanh"})

    longest: int = 64

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace `node` by its cells."""
        shape = static_shape(input_at(node, 0))
        if why := _not_covered(node):
            return Declined(why)
        if shape is None or 0 in shape:
            return Declined("the shape of its input is not static, or has no elements")
        if shape[0] > self.longest:
            return Declined(f"its sequence of {shape[0]} steps is longer than {self.longest}")
        build = Builder(edit, node)
        directions = {"forward": (False,), "reverse": (True,)}.get(
            attribute(node, "direction", "forward"), (False, True)
        )
        runs = [_Run(node, index, build).steps(reverse=reverse) for index, reverse in enumerate(directions)]
        ends = [run[0] if reverse else run[-1] for run, reverse in zip(runs, directions, strict=True)]
        every = [_joined([hidden for hidden, _ in run], 0, build) for run in runs]
        parts = [every, [hidden for hidden, _ in ends], [cell for _, cell in ends]]
        for index, output in enumerate(node.outputs):
            if output.uses() or output.is_graph_output():
                axis, start = (1, (shape[0], 1)) if index == 0 else (0, (1,))
                size = build.integers(*start, shape[1], -1)
                shaped = [build("Reshape", value, size) for value in parts[index]]
                edit.replace(output, _joined(shaped, axis, build))
        edit.erase(node)
        return Changed(f"became {shape[0]} cells in {len(runs)} direction{'s' * (len(runs) > 1)}")


def _not_covered(node: Node) -> str:
    """Return why the cells below would not be those of `node`, or an empty string."""
    strange = sorted(set(node.attributes) - ATTRIBUTES)
    if strange:
        return f"it has the attribute {strange[0]}"
    if attribute(node, "layout", 0) or attribute(node, "input_forget", 0):
        return "it has the batch first, or couples its gates"
    for index, what in ((LENGTHS, "lengths of sequences"), (PEEPHOLES, "peepholes")):
        if input_at(node, index) is not None:
            return f"it has {what}"
    if any(value is not None and constant(value) is None for value in node.inputs[1:4]):
        return "its weights or biases are not constant"
    return ""


class _Run:
    """One direction of one LSTM."""

    def __init__(self, node: Node, direction: int, build: Builder) -> None:
        weight, recurrence, bias = (constant(input_at(node, index)) for index in (WEIGHT, RECURRENCE, BIAS))
        assert weight is not None  # noqa: S101 -- _not_covered has refused the node otherwise
        assert recurrence is not None  # noqa: S101 -- as above
        self.build = build
        self.hidden = recurrence.shape[2]
        self.length, self.batch, _ = static_shape(input_at(node, 0)) or (0, 0, 0)
        self.recurrence = build.array(recurrence[direction].T)
        inputs = build("MatMul", input_at(node, 0), build.array(weight[direction].T))
        if bias is not None:
            both = bias[direction].reshape(2, -1)
            inputs = build("Add", inputs, build.array(both[0] + both[1]))
        self.inputs = build("Reshape", inputs, build.integers(self.length, self.batch, -1))
        self.start = [self._initial(node, index, direction) for index in (HIDDEN, CELL)]

    def steps(self, *, reverse: bool) -> list[tuple[Value, Value]]:
        """Return the hidden and the cell state after each step, in the order of the sequence."""
        hidden, cell = self.start
        states: list[tuple[Value, Value]] = []
        for step in reversed(range(self.length)) if reverse else range(self.length):
            hidden, cell = self._cell(step, hidden, cell)
            states.append((hidden, cell))
        return states[::-1] if reverse else states

    def _cell(self, step: int, hidden: Value, cell: Value) -> tuple[Value, Value]:
        build = self.build
        inputs = _at(self.inputs, step, build) if self.length > 1 else self.inputs
        flat = build("Reshape", inputs, build.integers(self.batch, -1))
        gates = build("Add", flat, build("MatMul", hidden, self.recurrence))
        sizes = build.integers(*[self.hidden] * 4)
        enter, leave, keep, fresh = build.many("Split", 4, gates, sizes, axis=-1)
        kept = build("Mul", build("Sigmoid", keep), cell)
        cell = build("Add", kept, build("Mul", build("Sigmoid", enter), build("Tanh", fresh)))
        return build("Mul", build("Sigmoid", leave), build("Tanh", cell)), cell

    def _initial(self, node: Node, index: int, direction: int) -> Value:
        given = input_at(node, index)
        if given is None:
            return self.build.array(np.zeros((self.batch, self.hidden)))
        shape = static_shape(given)
        one = given if shape is not None and shape[0] == 1 else _at(given, direction, self.build)
        return self.build("Reshape", one, self.build.integers(self.batch, self.hidden))


def _at(value: Value, index: int, build: Builder) -> Value:
    """Return one slice of axis 0, which stays with length 1."""
    return build("Slice", value, build.integers(index), build.integers(index + 1), build.integers(0))


def _joined(values: list[Value], axis: int, build: Builder) -> Value:
    return values[0] if len(values) == 1 else build("Concat", *values, axis=axis)
