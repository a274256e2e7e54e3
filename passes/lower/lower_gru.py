from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute
from npuopt.passes.lower.recurrent import RecurrentLowering
from npuopt.passes.lower.recurrent_run import Run

if TYPE_CHECKING:
    from npuopt.graph import Node, Value


@dataclass(frozen=True)
class LowerGru(RecurrentLowering):
    """GRU over a short sequence becomes its cells, one after the other.

    `GRU(x, w, r, b, , h) -> for each step: z, r, n = Split(MatMul(x_t, w) + b); z, r = Sigmoid(z + MatMul(h, rz)),
    Sigmoid(r + MatMul(h, rr)); n = Tanh(n + MatMul(r * h, rn)); h = (1 - z) * n + z * h`; with
    `linear_before_reset` it is `n = Tanh(n + r * (MatMul(h, rn) + bn))`.

    Left alone: sequences longer than `longest`; shapes that are not static; weights or biases given at run time;
    sequences of different lengths; clipping and other activations.

    Attributes:
        longest: each step costs some fifteen nodes.
    """

    name = "lower-gru"
    op_types = ("GRU",)
    produces = frozenset(
        {"Add", "Concat", "MatMul", "Mul", "Reshape", "Sigmoid", "Slice", "Split", "Sub", "Tanh", "Transpose"}
    )
    attributes = frozenset({"linear_before_reset"})
    states = 1

    def biases(self, node: Node, both: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Leave to each step what is added ahead of a product with the reset gate."""
        later = both[1].copy()
        later[: len(later) // 3 * (2 if attribute(node, "linear_before_reset", 0) else 3)] = 0
        return both[0] + both[1] - later, later

    def steps(self, run: Run, order: list[int]) -> list[list[Value]]:
        """Emit the cells."""
        build, hidden = run.build, run.start[0]
        after_product = bool(attribute(run.node, "linear_before_reset", 0))
        matrices = [run.matrix(0, 3)] if after_product else [run.matrix(0, 2), run.matrix(2, 3)]
        bias = build.array(run.recurrent_bias[2 * run.hidden :]) if run.recurrent_bias.any() else None
        states: list[list[Value]] = []
        for step in order:
            inputs, fresh = run.split(run.at(step), 2, 1)
            product, recurrent = build("MatMul", hidden, matrices[0]), None
            if after_product:
                product, recurrent = run.split(product, 2, 1)
                recurrent = recurrent if bias is None else build("Add", recurrent, bias)
            update, reset = run.split(build("Sigmoid", build("Add", inputs, product)), 1, 1)
            if recurrent is None:
                memory = build("MatMul", build("Mul", reset, hidden), matrices[1])
            else:
                memory = build("Mul", reset, recurrent)
            new = build("Tanh", build("Add", fresh, memory))
            taken = build("Mul", build("Sub", 1.0, update), new)
            hidden = build("Add", taken, build("Mul", update, hidden))
            states.append([hidden])
        return states
