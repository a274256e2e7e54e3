"""Sequences shorter than the size that their dim is frozen to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_ir as ir

from npuopt.graph import Builder, DataType, Editor, element_type, label, nodes, rank
from npuopt.passes.freeze.along_a_dim import SOFTMAX, axes_of, mixes, softmax_axis
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class InsertSequenceMask(Pass):
    """Softmax along a named dim ignores what lies beyond a length that is given at run time.

    y = Softmax(s), s: float[N, seq, seq] -> y = Softmax(Where(Range(seq) < seq_length, s, lowest))

    A model that is frozen to a bucket, `seq = 128`, then takes shorter sequences: the caller pads them at the end
    with anything finite and gives their length in the new input `seq_length`. What comes out at places within the
    length is what the shorter sequence alone would give; what comes out beyond it means nothing. On request, ahead
    of the freeze and of fusions.

    Left alone, as a whole: models with an op that lets padding reach other places (a sum, a pooling, a convolution,
    a concatenation or a pick along the dim); each is named.

    Attributes:
        dim: the name of the dim; nothing is done where it is empty.
    """

    name: ClassVar[str] = "insert-sequence-mask"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    breaks: ClassVar[frozenset[str]] = frozenset({"shapes-known", "constants-folded"})
    keeps_interface: ClassVar[bool] = False

    dim: str = ""

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Look for what mixes places along the dim, then mask each Softmax along it."""
        del target
        report = Report(self.name)
        length = f"{self.dim}_length"
        if not self.dim or any(value.name == length for value in model.graph.inputs):
            return report
        source = next((value for value in model.graph.inputs if axes_of(value, self.dim)), None)
        if source is None:
            report.declined.append(Entry(self.dim, "dim", f"the model has no dim called {self.dim!r}"))
            return report
        for node in nodes(model):
            if why := mixes(node, self.dim):
                report.declined.append(Entry(label(node), node.op_type, why))
        found = [node for node in nodes(model, *SOFTMAX) if softmax_axis(node) in axes_of(node.inputs[0], self.dim)]
        if report.declined or not found:
            return report
        edit = Editor(model)
        mask = _mask(source, axes_of(source, self.dim)[0], _length_input(model, edit.fresh_name(length)), edit)
        for node in found:
            _insert(node, mask, edit)
            report.changed.append(Entry(label(node), node.op_type, f"looks at {length} places"))
        report.notes.append(f"new input {length}: how many places along {self.dim} are not padding")
        return report


def _length_input(model: Model, name: str) -> Value:
    value = ir.Value(name=name, shape=ir.Shape([]), type=ir.TensorType(DataType.INT64))
    model.graph.inputs.append(value)
    return value


def _mask(source: Value, axis: int, length: Value, edit: Editor) -> Value:
    """Return the truth values of `place < length` along one axis of `source`."""
    build = Builder(edit, edit.model.graph[0])
    build.type = DataType.INT64
    size = build("Squeeze", build("Shape", source, start=axis, end=axis + 1))
    return build("Less", build("Range", 0, size, 1), length)


def _insert(node: Node, mask: Value, edit: Editor) -> None:
    scores, kind = node.inputs[0], element_type(node.inputs[0])
    if scores is None or kind is None:
        raise ValueError(f"{label(node)} reads nothing of a known type")
    build = Builder(edit, node)
    behind = (rank(scores) or 1) - 1 - softmax_axis(node)
    aligned = build("Reshape", mask, build.integers(-1, *[1] * behind)) if behind else mask
    lowest = build.array(np.array(float(kind.min)))  # finite, so that a place that sees nothing is no NaN
    node.replace_input_with(0, build("Where", aligned, scores, lowest))
