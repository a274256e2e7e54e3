"""Puts other numbers into constants: what a model learned, what was pruned, what an adapter adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import Editor, constant, is_constant
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class InsertWeights(Pass):
    """Put given numbers into constants of the main graph, found by name; shape and element type stay.

    `W = old numbers` becomes `W = new numbers`, for every reader of W.

    Left alone: constants that are not named; those that hold the given numbers already.

    Attributes:
        weights: arrays by the constant's name, or the `.npz` file that holds them.
    """

    name: ClassVar[str] = "insert-weights"
    breaks: ClassVar[frozenset[str]] = frozenset({"constants-folded"})

    weights: Mapping[str, Any] | Path = field(default_factory=dict[str, Any])

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Put the numbers in.

        Raises:
            InputError: when a name is no constant of the model, or an array does not fit; nothing is changed then.
        """
        del target  # what is learned is learned
        report = Report(self.name)
        weights = _read(self.weights) if isinstance(self.weights, Path) else self.weights
        known = model.graph.initializers
        for name, array in weights.items():
            _require_fit(known.get(name), name, array)
        edit = Editor(model)
        for name, array in weights.items():
            held = constant(known[name])
            if held is not None and not np.array_equal(held, array):
                edit.refill(known[name], array)
                report.changed.append(Entry(name, "constant", f"{array.size} numbers"))
        if not weights:
            report.notes.append("no weights were given, so nothing is changed")
        return report


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise InputError("weights cannot be read", where=str(path), hint="give an .npz file") from error


def _require_fit(value: Value | None, name: str, array: np.ndarray) -> None:
    held = constant(value) if is_constant(value) else None
    if held is None:
        raise InputError("weights are given for a constant that the model does not have", where=name)
    if held.shape != array.shape or held.dtype != array.dtype:
        what = f"{array.dtype}{list(array.shape)} is given for a constant that is {held.dtype}{list(held.shape)}"
        raise InputError(what, where=name)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError("the weights that are given hold NaN or infinity", where=name)
