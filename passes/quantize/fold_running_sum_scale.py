"""Divides running sums by a factor that the normalizations behind them do not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import frexp, isfinite
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import Editor, attribute, constant, element_type, input_at
from npuopt.pipeline import Entry, Pass, Report
from npuopt.quantization.channels.running_sums import is_normalization, running_sums

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.channels.running_sums import RunningSum
    from npuopt.target import Target

EPSILON = 1e-5
"""What both normalizations of ONNX add to the square that they divide by, unless they say otherwise."""

SCALED = "npuopt.running_sum_scale"
"""Annotation of the constants that divide a term: the factor, not to be divided twice."""


@dataclass(frozen=True)
class FoldRunningSumScale(Pass):
    """Divide a running sum by a power of two, folded into what is added up and into the normalizations behind it.

    `s = Add(x, RMSNormalization(y, g)); RMSNormalization<e>(s)`
    `-> s = Add(Mul(x, 1 / f), RMSNormalization(y, g / f)); RMSNormalization<e / f^2>(s)`

    The same numbers come out, to the last bit unless they leave the range of floats; the sums in between fit a float
    type of less range.

    Left alone: sums that go anywhere but into additions and normalizations.

    Attributes:
        scales: the factor by the name of the first tensor of the sum that a normalization reads; a power of two.
    """

    name: ClassVar[str] = "fold-running-sum-scale"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-static"})

    scales: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Divide each sum that has a factor."""
        del target  # what is exact is so everywhere
        report = Report(self.name)
        for running in running_sums(model) if self.scales else ():
            if running.name not in self.scales:
                continue
            factor = _checked(self.scales[running.name], running.name)
            why = running.why
            if any(_is_divided(value) for value in running.terms):
                why = "it was divided before"
            if why:
                report.declined.append(Entry(running.name, "running sum", why))
                continue
            _divide(running, factor, Editor(model))
            text = f"{len(running.terms)} terms divided by {factor:g}"
            report.changed.append(Entry(running.name, "running sum", text))
        return report


def _checked(given: Any, where: str) -> float:  # noqa: ANN401 -- an option, as a file or a caller has it
    """Return the factor; raise InputError unless it is a power of two, by which nothing is rounded."""
    usable = isinstance(given, int | float) and isfinite(given) and given > 0 and frexp(given)[0] == 0.5
    if not usable:
        raise InputError(f"{given!r} is no power of two", where=where)
    return float(given)


def _is_divided(term: Value) -> bool:
    maker = term.producer()
    held = None if maker is None else input_at(maker, 1)
    return held is not None and SCALED in held.metadata_props


def _divide(running: RunningSum, factor: float, edit: Editor) -> None:
    for value in running.terms:
        maker = value.producer()
        if maker is not None and is_normalization(maker):
            for index in (1, 2):
                _divide_constant(maker, index, factor, edit)
        else:
            _divide_term(value, running, factor, edit)
    for norm in running.norms:
        edit.set_attribute(norm, "epsilon", attribute(norm, "epsilon", EPSILON) / factor**2)


def _divide_constant(node: Node, index: int, factor: float, edit: Editor) -> None:
    old = input_at(node, index)
    if old is None:
        return
    array = cast("np.ndarray", constant(old))
    made = edit.constant((array / factor).astype(array.dtype), near=node, name=f"{old.name}/divided")
    made.metadata_props[SCALED] = f"{factor:g}"
    node.replace_input_with(index, made)
    if not old.uses() and not old.is_graph_output():
        edit.model.graph.initializers.pop(old.name or "", None)


def _divide_term(value: Value, running: RunningSum, factor: float, edit: Editor) -> None:
    """Divide what else is added up, behind whatever makes it."""
    uses = list(value.uses())
    near = value.producer() or next(iter(edit.model.graph))
    kind = element_type(value)
    number = np.asarray(1 / factor, np.float32 if kind is None else kind.numpy())
    held = edit.constant(number, near=near, name=f"{running.name}/factor")
    held.metadata_props[SCALED] = f"{factor:g}"
    maker = value.producer()
    if maker is None:
        made = edit.emit("Mul", [value, held], before=near)
    else:
        made = edit.emit_after("Mul", [value, held], after=maker)
    for use in uses:
        use.node.replace_input_with(use.idx, made)
