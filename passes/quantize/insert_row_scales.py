"""Divides the rows of a normalization by their largest numbers, so that few bits hold squares of rows of any size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, ClassVar

from npuopt.errors import InputError
from npuopt.passes.quantize.replacement import replace_where_taken
from npuopt.pipeline import Entry, Pass, Report
from npuopt.quantization.normalizations import match_normalization

if TYPE_CHECKING:
    from npuopt.graph import Builder, Match, Model, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class InsertRowScales(Pass):
    """Divide the rows of a normalization by about their largest number ahead of squaring them.

    `x * Pow(ReduceMean(x * x) + epsilon, -0.5)` becomes `y * Pow(ReduceMean(y * y) + epsilon * r * r, -0.5)` with
    `y = x * r`, `r = u * u` and `u = Pow(ReduceMax(Abs(x)) + offset, -0.5)`.

    It is the same number for every positive `r`, which may so be coarse, and a row of zeros stays one. `y` is below 1
    and its squares too, however small the row is beside others that share its scale: those of `x` differ by the square
    of what rows do.

    Left alone: nodes that are no such normalization, and where the target refuses one of the new nodes.

    Attributes:
        offsets: what is added to the largest numbers, by the name of what the normalization makes; as far as a table
            for Pow is too coarse near zero.
    """

    name: ClassVar[str] = "insert-row-scales"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    offsets: Mapping[str, float] = field(default_factory=dict[str, float])

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Scale the rows of each normalization that an offset is given for."""
        report = Report(self.name)
        for node in list(model.graph) if self.offsets else ():
            name = node.outputs[0].name or ""
            if name not in self.offsets:
                continue
            offset = _checked(self.offsets[name], name)
            why = _scale(node, offset, model, target)
            entry = Entry(name, node.op_type, why or f"rows divided by their largest number + {offset:.3g}")
            (report.declined if why else report.changed).append(entry)
        return report


def _checked(offset: float, where: str) -> float:
    if not (isfinite(offset) and offset > 0):
        raise InputError(f"an offset is a positive number, not {offset}", where=where)
    return offset


def _scale(node: Node, offset: float, model: Model, target: Target | None) -> str:
    """Rewrite a normalization, whose result keeps its name; return why not where that is so."""
    found = match_normalization(node)
    if found is None:
        return "no normalization by a mean of squares"
    name = node.outputs[0].name
    made, why = replace_where_taken(node, partial(_scaled, found, offset), model, target)
    if made is not None:
        made.name = name
    return why


def _scaled(found: Match, offset: float, build: Builder) -> Value:
    """Emit the normalization of scaled rows."""
    rows, axes, epsilon = (found.values[name] for name in ("rows", "axes", "epsilon"))
    half = found.nodes["power"].inputs[1]
    largest = build("ReduceMax", build("Abs", rows), axes, keepdims=1)
    root = build("Pow", build("Add", largest, offset), half)
    factor = build("Mul", root, root)
    scaled = build("Mul", rows, factor)
    square = build("ReduceMean", build("Mul", scaled, scaled), axes, keepdims=1)
    total = build("Add", square, build("Mul", build("Mul", factor, epsilon), factor))
    return build("Mul", scaled, build("Pow", total, half))
