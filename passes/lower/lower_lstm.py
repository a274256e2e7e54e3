from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, input_at
from npuopt.passes.lower.recurrent import RecurrentLowering
from npuopt.passes.lower.recurrent_run import Run

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

PEEPHOLES = 7
"""Position of an input."""


@dataclass(frozen=True)
class LowerLstm(RecurrentLowering):
    """LSTM over a short sequence becomes its cells, one after the other.

    `LSTM(x, w, r, b, , h, c) -> for each step: i, o, f, g = Split(MatMul(x_t, w) + MatMul(h, r) + b);
    c = Sigmoid(f) * c + Sigmoid(i) * Tanh(g); h = Sigmoid(o) * Tanh(c)`; the products with the inputs of all steps
    are one MatMul. Peepholes add `p_i * c` and `p_f * c` of the cell before to the gates, `p_o * c` of the new one.

    Left alone: sequences longer than `longest`; shapes that are not static; weights or biases given at run time;
    sequences of different lengths; clipping, other activations, coupled gates; peepholes given at run time.

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
        peepholes = input_at(node, PEEPHOLES)
        if peepholes is not None and constant(peepholes) is None:
            return "its peepholes are not constant"
        return super().refusal(node)

    def biases(self, node: Node, both: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add both biases at once."""
        return both[0] + both[1], np.zeros_like(both[1])

    def steps(self, run: Run, order: list[int]) -> list[list[Value]]:
        """Emit the cells."""
        build, recurrence, (hidden, cell) = run.build, run.matrix(0, 4), run.start
        states: list[list[Value]] = []
        peepholes = _peepholes(run)
        for step in order:
            gates = build("Add", run.at(step), build("MatMul", hidden, recurrence))
            enter, leave, keep, fresh = run.split(gates, 1, 1, 1, 1)
            if peepholes:
                enter = build("Add", enter, build("Mul", cell, peepholes[0]))
                keep = build("Add", keep, build("Mul", cell, peepholes[2]))
            kept = build("Mul", build("Sigmoid", keep), cell)
            cell = build("Add", kept, build("Mul", build("Sigmoid", enter), build("Tanh", fresh)))
            if peepholes:
                leave = build("Add", leave, build("Mul", cell, peepholes[1]))
            hidden = build("Mul", build("Sigmoid", leave), build("Tanh", cell))
            states.append([hidden, cell])
        return states


def _peepholes(run: Run) -> list[Value]:
    """Return what the cell is multiplied by for the gates i, o and f; nothing where the layer does not look at it."""
    weights = constant(input_at(run.node, PEEPHOLES))
    return [] if weights is None else [run.build.array(part) for part in weights[run.direction].reshape(3, run.hidden)]
