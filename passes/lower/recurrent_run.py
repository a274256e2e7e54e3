"""One direction of a recurrent layer that is written out: its inputs, gates and initial states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Builder, attribute, constant, input_at, static_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.graph import Node, Value

    Biases = Callable[[Node, np.ndarray], tuple[np.ndarray, np.ndarray]]

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

    def __init__(self, node: Node, x: Value, direction: int, states: int, biases: Biases, build: Builder) -> None:
        """Emit what all steps have in common.

        Args:
            node: the layer.
            x: its input, [length, batch, features].
            direction: index of the direction.
            states: how many states a step hands to the next.
            biases: takes both halves of the bias, and returns what can be added to the inputs at once and what
                is left for each step.
            build: emits ahead of the layer.
        """
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
        at_once, self.recurrent_bias = biases(node, both)
        inputs = build("MatMul", x, build.array(weight[direction].T))
        if bias is not None:
            inputs = build("Add", inputs, build.array(at_once))
        self.inputs = build("Reshape", inputs, build.integers(self.length, self.batch, -1))
        self.start = [self._initial(HIDDEN + index, direction) for index in range(states)]

    def matrix(self, start: int, stop: int) -> Value:
        """Return the recurrence of some gates, transposed."""
        return self.build.array(self.recurrence[start * self.hidden : stop * self.hidden].T)

    def at(self, step: int) -> Value:
        """Return what the inputs of one step add to the gates: [batch, gates * hidden]."""
        inputs = slice_at(self.inputs, step, self.build) if self.length > 1 else self.inputs
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
        one = given if shape is not None and shape[0] == 1 else slice_at(given, direction, self.build)
        return self.build("Reshape", one, self.build.integers(self.batch, self.hidden))


def slice_at(value: Value, index: int, build: Builder) -> Value:
    """Return one slice of axis 0, which stays with length 1."""
    return build("Slice", value, build.integers(index), build.integers(index + 1), build.integers(0))
