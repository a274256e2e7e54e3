"""`--verify each`: numbers after every pass against the graph before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InternalError
from npuopt.graph.execution import Session
from npuopt.graph.seeded import seeded_inputs
from npuopt.verify.compare import compare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from npuopt.graph import Model
    from npuopt.pipeline import Pass, Report

TOLERANCE = {"f8": 1e-9, "f4": 1e-4, "f2": 2e-2}
"""Largest allowed difference relative to the output's largest value, by numpy dtype."""


@dataclass
class NumbersObserver:
    """Runs the model before and after each pass that changed it and compares all outputs.

    Attributes:
        sizes: of symbolic dims, which the inputs are drawn with.
        approximate: names of passes that change numbers by design (quantization); they are not compared.
        samples: how many seeded samples to run.
    """

    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    approximate: frozenset[str] = frozenset()
    samples: int = 2
    _feeds: list[dict[str, np.ndarray]] = field(default_factory=list[dict[str, np.ndarray]], repr=False)
    _before: list[dict[str, np.ndarray]] = field(default_factory=list[dict[str, np.ndarray]], repr=False)

    def before(self, step: Pass, model: Model) -> None:
        """Draw the inputs and run the graph as it comes in, once; later it is what the last pass left.

        Raises:
            InputError: when a dim of an input has no size.
        """
        del step
        if not self._feeds:
            self._feeds = [seeded_inputs(model, seed, self.sizes) for seed in range(self.samples)]
            self._before = self._run(model)

    def after(self, step: Pass, model: Model, report: Report) -> None:
        """Run the graph as it is now and compare.

        Raises:
            InternalError: naming the pass, the output and the difference.
        """
        if not report.changed:
            return
        after = self._run(model)
        if step.name not in self.approximate:
            for output, difference, allowed in differences(self._before, after):
                if not difference <= allowed:
                    raise _wrong(step.name, output, difference, allowed)
        self._before = after

    def _run(self, model: Model) -> list[dict[str, np.ndarray]]:
        session = Session(model)
        return [session.run(feed) for feed in self._feeds]


def differences(
    reference: Sequence[Mapping[str, np.ndarray]],
    got: Sequence[Mapping[str, np.ndarray]],
    tolerance: float | None = None,
) -> Iterator[tuple[str, float, float]]:
    """Yield each output's name, how far it is from its reference, and how far it may be.

    The difference is relative to the output's largest value, infinite for another shape and 0 or 1 for what is no
    float. Outputs that only one side has are not looked at.

    Args:
        reference: outputs by name, for each sample.
        got: the same of the other model.
        tolerance: what is allowed of floats; by type where None.
    """
    for before, after in zip(reference, got, strict=True):
        for name, array in before.items():
            if name in after:
                yield name, _difference(array, after[name]), _allowed(array, tolerance)


def _difference(reference: np.ndarray, got: np.ndarray) -> float:
    if reference.shape != got.shape:
        return float("inf")
    if reference.dtype.kind == "f":
        return compare(reference, got).max_relative
    return float(np.any(reference != got))


def _allowed(reference: np.ndarray, tolerance: float | None) -> float:
    known = TOLERANCE.get(reference.dtype.str[1:], 0.0)
    return known if tolerance is None or not known else tolerance


def _wrong(step: str, output: str, difference: float, allowed: float) -> InternalError:
    if difference == float("inf"):
        what = f"pass {step} made output {output!r} infinite, NaN or of another shape"
    else:
        what = f"pass {step} changed the numbers of output {output!r} by {difference:.2e} of its range"
    return InternalError(
        f"{what} (allowed {allowed:.0e})",
        hint=f"report it, or leave the pass out; `npuopt bisect` finds the node, `npuopt passes show {step}` says"
        " what the pass does",
    )
