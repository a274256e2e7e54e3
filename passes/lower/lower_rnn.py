from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.passes.lower.recurrent import RecurrentLowering
from npuopt.passes.lower.recurrent_run import Run

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

ACTIVATIONS = ("Relu", "Sigmoid", "Tanh")


@dataclass(frozen=True)
class LowerRnn(RecurrentLowering):
    """RNN over a short sequence becomes its steps, one after the other.

    `RNN(x, w, r, b, , h) -> for each step: h = Tanh(MatMul(x_t, w) + MatMul(h, r) + b)`, or another of the common
    activations

    Left alone: sequences longer than `longest`; shapes that are not static; weights or biases given at run time;
    sequences of different lengths; clipping; other activations, and two directions of which each has its own.

    Attributes:
        longest: each step costs some five nodes.
    """

    name = "lower-rnn"
    op_types = ("RNN",)
    produces = frozenset({"Add", "Concat", "MatMul", "Reshape", "Slice", "Transpose", *ACTIVATIONS})
    attributes = frozenset({"activations"})
    states = 1

    def refusal(self, node: Node) -> str:
        """Return why the steps below would not be those of `node`, or an empty string."""
        names = _activations(node)
        if len(names) != 1 or not names <= set(ACTIVATIONS):
            return f"its activations are {', '.join(sorted(names))}"
        return super().refusal(node)

    def biases(self, node: Node, both: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add both biases at once."""
        return both[0] + both[1], np.zeros_like(both[1])

    def steps(self, run: Run, order: list[int]) -> list[list[Value]]:
        """Emit the steps."""
        build, recurrence, hidden = run.build, run.matrix(0, 1), run.start[0]
        (activation,) = _activations(run.node)
        states: list[list[Value]] = []
        for step in order:
            hidden = build(activation, build("Add", run.at(step), build("MatMul", hidden, recurrence)))
            states.append([hidden])
        return states


def _activations(node: Node) -> set[str]:
    found = node.attributes.get("activations")
    return {"Tanh"} if found is None else set(found.as_strings())
