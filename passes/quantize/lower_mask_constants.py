"""Keeps attention masks from ruining the ranges of what they are added to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from npuopt.graph import Editor, constant
from npuopt.pipeline import Entry, Pass, Report
from npuopt.quantization.masks import find_masks

if TYPE_CHECKING:
    from npuopt.graph import Model, Value
    from npuopt.target import Target

VANISHES = 104.0
"""exp(-104) is 0 in float32: it is less than half of the least subnormal number, 2^-149 = exp(-103.28)."""


@dataclass(frozen=True)
class LowerMaskConstants(Pass):
    """Limit the numbers that mask attention scores to what a Softmax needs.

    `Add(scores, -3.4e38 where masked)` becomes `Add(scores, -200 where masked)`; likewise for a 0/1 tensor times a
    large number, and for Where between scores and a large number or minus infinity. Numbers above the limit stay.

    This is exact in float32 as long as no two scores of a row differ by more than `scores`: a masked number then
    lies at least 104 below the greatest of its row, and exp(-104) is 0. Up to a difference of `scores` + 87 the
    masked share stays below 2^-24, half a unit in the last place of 1. A row that is masked as a whole becomes the
    Softmax of its scores where minus infinity made NaN of it.

    Left alone: constants that reach anything but Softmax or Attention through Add, Where, Mul by a 0/1 tensor, and
    ops that only move numbers.

    Attributes:
        scores: largest difference of two scores in a row that is allowed for.
    """

    name: ClassVar[str] = "lower-mask-constants"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    scores: float = 96.0

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Replace every mask constant that goes beyond the limit."""
        del target  # the limit follows from the Softmax alone
        report = Report(self.name)
        edit = Editor(model)
        limit = -(self.scores + VANISHES)
        masks = find_masks(model)
        for value, reason in masks.refused.items():
            report.declined.append(Entry(value.name or "", "constant", reason))
        for value in masks.constants:
            array = cast("np.ndarray", constant(value))
            if float(array.min()) < limit:
                _replace(value, np.maximum(array, np.asarray(limit, array.dtype)), edit)
                text = f"least number {float(array.min()):.6g} is now {limit:.6g}"
                report.changed.append(Entry(value.name or "", "constant", text))
        return report


def _replace(value: Value, array: np.ndarray, edit: Editor) -> None:
    home = value.graph  # which may be a branch's; its readers may lie deeper still
    if home is not None:
        edit.replace(value, edit.constant(array, near=home[0], name=value.name or ""))
        home.initializers.pop(value.name or "")
