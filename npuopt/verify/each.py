"""`--verify each`: numbers after every pass against the graph before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InternalError
from npuopt.graph.execution import Session
from npuopt.verify.compare import compare
from npuopt.verify.inputs import seeded_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

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
            for before_outputs, after_outputs in zip(self._before, after, strict=True):
                for name, reference in before_outputs.items():
                    if name in after_outputs:
                        _check(step.name, name, reference, after_outputs[name])
        self._before = after

    def _run(self, model: Model) -> list[dict[str, np.ndarray]]:
        session = Session(model)
        return [session.run(feed) for feed in self._feeds]


def _check(step: str, output: str, reference: np.ndarray, got: np.ndarray) -> None:
    if reference.shape != got.shape:
        raise InternalError(f"pass {step} changed the shape of {output!r} from {reference.shape} to {got.shape}")
    tolerance = TOLERANCE.get(reference.dtype.str[1:], 0.0)
    difference = (
        compare(reference, got).max_relative if reference.dtype.kind == "f" else float(np.any(reference != got))
    )
    if difference > tolerance:
        raise InternalError(
            f"pass {step} changed the numbers of output {output!r} by {difference:.2e} of its range"
            f" (allowed {tolerance:.0e})",
            hint=f"report it, or leave the pass out; `npuopt passes show {step}` says what it does",
        )
