"""Rotates residual streams, the rotation folded into the weights on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from npuopt.graph import Editor, attribute, constant, input_at, is_op
from npuopt.pipeline import Entry, Pass, Report
from npuopt.quantization.channels.hadamard import rotation
from npuopt.quantization.channels.residuals import residual_streams, tied

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.channels.residuals import Reader, Stream
    from npuopt.target import Target

ROTATED = "npuopt.rotation"
"""Annotation of the weights that make a rotated stream: the seed, not to be rotated twice."""

ROWS = 8192
"""Rows of a table that are rotated at once, in float64."""


@dataclass(frozen=True)
class FoldResidualRotation(Pass):
    """Rotate residual streams by an orthogonal matrix, folded into the weights that make and read them.

    `x = Gather(E, ids) + MatMul(h, O); MatMul(RMSNormalization(x, g), W)`
    `-> x = Gather(E Q, ids) + MatMul(h, O Q); MatMul(RMSNormalization(x, 1), Q' diag(g) W)`

    The same numbers come out, up to the rounding of floats; in between no channel stands out any more. Where the head
    reads the embedding's own table, it stays one table, and a small product ahead of the head does what is left.

    Left alone: streams that are normalized with a mean, or that something other than products, lookups and sums makes
    or reads, graph outputs included; weights with other readers.

    Attributes:
        seed: of the matrix's signs.
    """

    name: ClassVar[str] = "fold-residual-rotation"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-static"})

    seed: int | None = None

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Rotate every stream that can be; without a seed, none."""
        del target  # what is exact is so everywhere
        report = Report(self.name)
        for stream in residual_streams(model) if self.seed is not None else ():
            made = [input_at(node, 0) for node in stream.tables] + [input_at(node, 1) for node in stream.makers]
            why = stream.why
            if any(value is not None and ROTATED in value.metadata_props for value in made):
                why = "it was rotated before"
            if why:
                report.declined.append(Entry(stream.name, "residual stream", why))
                continue
            _Rotation(stream, rotation(stream.size, self.seed or 0), Editor(model), str(self.seed)).fold()
            text = f"{stream.size} channels rotated in {len(made)} makers and {len(stream.readers)} readers"
            report.changed.append(Entry(stream.name, "residual stream", text))
        return report


@dataclass(frozen=True)
class _Rotation:
    """One stream on its way into another basis."""

    stream: Stream
    matrix: np.ndarray
    edit: Editor
    mark: str

    def fold(self) -> None:
        scales = {norm: _array(input_at(norm, 1)).astype(np.float64) for norm in self.stream.norms}
        plain = {norm: bool((scale == scale[0]).all()) for norm, scale in scales.items()}  # passes any rotation
        for reader in self.stream.readers:
            scale = np.ones(1) if reader.norm is None or plain[reader.norm] else scales[reader.norm]
            if not tied(self.stream, reader):
                self._fold_into(reader, scale)
            elif scale.size > 1:
                self._insert_ahead_of(reader, scale)
        for norm, scale in scales.items():
            if not plain[norm]:
                self._replace(norm, 1, np.ones_like(scale))
        for node in self.stream.tables:
            self._refill(input_at(node, 0), self._rotated(_array(input_at(node, 0))))
        for node in self.stream.makers:
            turned = is_op(node, "Gemm") and attribute(node, "transB", 0)
            weight = _array(input_at(node, 1))
            rotated = self.matrix.T @ weight.astype(np.float64) if turned else self._rotated(weight)
            self._refill(input_at(node, 1), rotated)
            if input_at(node, 2) is not None:
                self._replace(node, 2, self._rotated(_array(input_at(node, 2))))
        for node, index in self.stream.shifts:
            self._replace(node, index, self._rotated(_array(input_at(node, index))))

    def _rotated(self, array: np.ndarray) -> np.ndarray:
        """Return the array with its last axis in the new basis, in its own type."""
        made = np.empty_like(array)
        rows, out = array.reshape(-1, array.shape[-1]), made.reshape(-1, array.shape[-1])
        for first in range(0, len(rows), ROWS):
            out[first : first + ROWS] = (rows[first : first + ROWS].astype(np.float64) @ self.matrix).astype(
                array.dtype
            )
        return made

    def _fold_into(self, reader: Reader, scale: np.ndarray) -> None:
        """Multiply a reader's weights by the normalization's scale and by the way back into the old basis."""
        weight = _array(reader.weight)
        made = self.matrix.T @ (weight * scale[:, None]) if reader.by_row else self._rotated(weight * scale)
        self._refill(reader.weight, made)

    def _insert_ahead_of(self, reader: Reader, scale: np.ndarray) -> None:
        """Scale in the old basis, ahead of a head whose weights are the rotated table itself."""
        matrix = self.matrix.T @ (scale[:, None] * self.matrix)
        name = f"{reader.node.outputs[0].name}/scale_in_basis"
        held = self.edit.constant(matrix.astype(_array(reader.weight).dtype), near=reader.node, name=name)
        made = self.edit.emit("MatMul", [reader.node.inputs[0], held], before=reader.node)
        reader.node.replace_input_with(0, made)

    def _refill(self, weight: Value | None, array: np.ndarray) -> None:
        """Give a weight that nobody else wants, or that all who want it get so, its new numbers, with the mark."""
        value = cast("Value", weight)
        self.edit.refill(value, array.astype(_array(value).dtype))
        value.metadata_props[ROTATED] = self.mark

    def _replace(self, node: Node, index: int, array: np.ndarray) -> None:
        """Let the node read `array` instead of a short constant, which goes when nobody else reads it."""
        old = cast("Value", input_at(node, index))
        made = self.edit.constant(array.astype(_array(old).dtype), near=node, name=f"{old.name}/rotated")
        node.replace_input_with(index, made)
        if not old.uses() and not old.is_graph_output():
            self.edit.model.graph.initializers.pop(old.name or "", None)


def _array(value: Value | None) -> np.ndarray:
    return cast("np.ndarray", constant(value))
