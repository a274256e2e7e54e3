"""What the lowerings of recurrent layers share: directions, steps, initial states and results."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from npuopt.graph import Builder, attribute, constant, input_at, static_shape
from npuopt.passes.lower.recurrent_run import BATCH_FIRST, LENGTHS, Run
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value


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
            runs.append(self.steps(Run(node, x, direction, self.states, self.biases, build), order))
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


def _joined(values: list[Value], axis: int, build: Builder) -> Value:
    return values[0] if len(values) == 1 else build("Concat", *values, axis=axis)
