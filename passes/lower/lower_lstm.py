from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, input_at
from npuopt.passes.lower.recurrent import RecurrentLowering, Run

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

PEEPHOLES = 7
"""Position of an input."""


@dataclass(frozen=True)
class LowerLstm(RecurrentLowering):
    """LSTM over a short sequence becomes its cells, one after the other.

    `LSTM(x, w, r, b, , h, c) -> for each step: i, o, f, g = Split(MatMul(x_t, w) + MatMul(h, r) + b);
    c = Sigmoid(f) * c + Sigmoid(i) * Tanh(g); h = Sigmoid(o) * Tanh(c)`; the products with the inputs of all steps
    are one MatMul.

    Left alone: sequences longer than `longest`; shapes that are not static; weights or biases given at run time;
    sequences of different lengths; peepholes, clipping, other activations, coupled gates.

    Attributes:
        longest: each step costs some fifteen nodes.
    """

    name = "lower-lstm"
    op_types = ("LSTM",)
    produces = frozenset(
        {"Add", "Concat", "MatMul", "Mul", "Reshape", "Sigmoid", "Slice", "Split", "Tanh", "Transpose"}
    )
    attributes = frozenset({"input_forget"})
    states = 2

    def refusal(self, node: Node) -> str:
        """Return why the cells below would not be those of `node`, or an empty string."""
        if attribute(node, "input_forget", 0):
            return "it couples its gates"
        return "it has peepholes" if input_at(node, PEEPHOLES) is not None else super().refusal(node)

    def biases(self, node: Node, both: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add both biases at once."""
        return both[0] + both[1], np.zeros_like(both[1])

    def steps(self, run: Run, order: list[int]) -> list[list[Value]]:
        """Emit the cells."""
        build, recurrence, (hidden, cell) = run.build, run.matrix(0, 4), run.start
        states: list[list[Value]] = []
        for step in order:
            gates = build("Add", run.at(step), build("MatMul", hidden, recurrence))
            enter, leave, keep, fresh = run.split(gates, 1, 1, 1, 1)
            kept = build("Mul", build("Sigmoid", keep), cell)
            cell = build("Add", kept, build("Mul", build("Sigmoid", enter), build("Tanh", fresh)))
            hidden = build("Mul", build("Sigmoid", leave), build("Tanh", cell))
            states.append([hidden, cell])
        return states
