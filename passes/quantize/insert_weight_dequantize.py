"""Writes weights as integers in blocks or channels, with a DequantizeLinear behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import Editor, constant, release_mapped
from npuopt.pipeline import Entry, Pass, Report
from npuopt.quantization.arithmetic import STORAGE
from npuopt.quantization.blocks import Rounding, round_blocks
from npuopt.quantization.encodings import Encodings

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.block_encodings import BlockEncoding
    from npuopt.quantization.blocks import Blocks
    from npuopt.target import Target


@dataclass(frozen=True)
class InsertWeightDequantize(Pass):
    """Hold weights as integers of which blocks or channels share a scale: DequantizeLinear in front of what reads them.

    `float w -> readers` becomes `int4 w, scales -> DequantizeLinear<axis, block_size> -> readers`, once for all
    readers of a weight, tied embeddings included. One weight at a time is rounded, and what it was is let go.

    Scales have the weight's float type. Symmetric weights of 4 signed bits have no zero points. Those of 8 signed bits
    have zero points of 0: ONNX Runtime's optimizer makes the weight unsigned otherwise and gives it one zero point of
    a shape that its own kernel refuses.

    Left alone: weights without an entry in the encodings' `blocks`, and those that are held already.

    Attributes:
        encodings: what to hold how, or the JSON file that says so.
        rounding: how scales are found: nearest, least-squares or half-quadratic.
        moments: mean products of what each weight is multiplied with, [features, features], by the weight's name;
            where there are none, all features count the same.
        rounded: the integers (`Blocks`) of weights that are rounded already, by name.
        left: weights that stay float by the plan, and why; for the report.
        held: a model whose weights of the same names are held already, as these are then: its tensors are shared.
    """

    name: ClassVar[str] = "insert-weight-dequantize"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    encodings: Encodings | Path | None = None
    rounding: Rounding = "least-squares"
    moments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rounded: Mapping[str, Any] = field(default_factory=dict[str, Any])
    left: Mapping[str, str] = field(default_factory=dict[str, str])
    held: Any = None

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Hold the weights."""
        del target  # encodings say all there is to say
        report = Report(self.name)
        encodings = Encodings.load(self.encodings) if isinstance(self.encodings, Path) else self.encodings
        if encodings is None:
            report.notes.append("no encodings were given, so no weight is held as integers")
            return report
        encodings.check(model)
        edit = Editor(model)
        for name, held in sorted(encodings.blocks.items()):
            value = model.graph.initializers.get(name)
            if value is None:
                continue  # it is held already
            first = next(iter(model.graph))
            parameters = self._shared(name, edit, first)
            if not parameters:
                blocks = self.rounded.get(name) or self._rounded(value, held)
                parameters = _parameters(value, held, blocks, edit, first)
            _hold(value, held, parameters, edit, first)
            release_mapped([value])  # what was read of the file is not needed again
            share = "channel" if held.block is None else f"{held.block} along axis {held.axis}"
            report.changed.append(Entry(name, "constant", f"{held.dtype}, one scale for each {share}"))
        report.declined = [Entry(name, "constant", why) for name, why in sorted(self.left.items())]
        return report

    def _shared(self, name: str, edit: Editor, first: Node) -> list[Value]:
        """Return the integers, scales and zero points of the other model; nothing where it does not hold the weight."""
        if self.held is None:
            return []
        others = cast("Model", self.held).graph.initializers
        found = [others.get(f"{name}/{part}") for part in ("quantized", "scale", "zero_point")]
        tensors = [value.const_value for value in found if value is not None and value.const_value is not None]
        return [edit.shared_constant(tensor, near=first, name=tensor.name or name) for tensor in tensors]

    def _rounded(self, value: Value, held: BlockEncoding) -> Blocks:
        array = cast("np.ndarray", constant(value))
        kind = array.dtype if array.dtype.itemsize < np.dtype(np.float32).itemsize else np.dtype(np.float32)
        rows, moments = held.rows(array), self.moments.get(value.name or "")
        try:
            return round_blocks(rows, held.format, moments, method=self.rounding, scale_type=kind)
        except InputError as error:
            raise InputError(error.what, where=value.name or "") from error


def _parameters(value: Value, held: BlockEncoding, blocks: Blocks, edit: Editor, first: Node) -> list[Value]:
    """Make constants of a weight's integers, scales and zero points."""
    array, name = cast("np.ndarray", constant(value)), value.name or ""
    shape, storage = array.shape, STORAGE[held.dtype]
    integers = held.like_weight(blocks.integers, shape).astype(storage)
    parameters = [edit.constant(integers, near=first, name=f"{name}/quantized")]
    scales = held.like_scales(blocks.scales, shape).astype(array.dtype)
    parameters.append(edit.constant(scales, near=first, name=f"{name}/scale"))
    zero_points = blocks.zero_points
    if zero_points is None and held.dtype != "int4":
        zero_points = np.full(blocks.scales.shape, held.format.middle, blocks.integers.dtype)
    if zero_points is not None:
        points = held.like_scales(zero_points, shape).astype(storage)
        parameters.append(edit.constant(points, near=first, name=f"{name}/zero_point"))
    return parameters


def _hold(value: Value, held: BlockEncoding, parameters: list[Value], edit: Editor, first: Node) -> None:
    """Let the readers of `value` read it from integers, and take it out of the graph."""
    name, home = value.name or "", value.graph
    attributes = {"axis": held.axis, "block_size": held.block}
    dequantized = edit.emit("DequantizeLinear", parameters, attributes, before=first, name=name)
    edit.replace(value, dequantized)
    if home is not None:
        home.initializers.pop(name)
    dequantized.name = name
