"""Runs compiled steps in order, and decides what happens where one of them fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from npuopt.delegates.contract import CompiledRegion, Limits, Opener
from npuopt.delegates.registry import find_delegate
from npuopt.errors import InputError, NpuoptError
from npuopt.graph.lean import open_lean

if TYPE_CHECKING:
    import numpy as np

    from npuopt.bundle import Step
    from npuopt.delegates.contract import Runner
    from npuopt.graph.execution import Session
    from npuopt.target import Target

    Arrays = Mapping[str, np.ndarray]

OnFailure = Literal["stop", "cpu"]


@dataclass(frozen=True)
class Fallback:
    """A compiled part that failed and runs in its CPU form from then on.

    Attributes:
        step: its name.
        road: of the delegate that failed.
        reason: what it said.
    """

    step: str
    road: str
    reason: str


Told = Callable[[Fallback], None]


class StepRunner:
    """Runs steps, as often as asked.

    A part that fails on its delegate falls to ONNX Runtime on the CPU once and stays there, or the failure is raised,
    as `on_failure` says. What fails on the CPU too is raised.

    Args:
        folder: where the paths of the steps start.
        steps: in order.
        target: what they were compiled for.
        limits: of each vendor tool run.
        on_failure: `stop` or `cpu`.
        told: called for each part that falls to the CPU.
    """

    def __init__(
        self,
        folder: Path,
        steps: Sequence[Step],
        target: Target,
        limits: Limits,
        *,
        on_failure: OnFailure = "stop",
        told: Told = lambda _: None,
    ) -> None:
        self._folder, self._steps, self._target, self._limits = folder, steps, target, limits
        self._on_failure, self._told = on_failure, told
        self._on_cpu: dict[str, Session] = {}
        self._open: dict[str, Runner] = {}
        self.fallbacks: list[Fallback] = []

    def run(self, samples: Sequence[Arrays], outputs: Sequence[str] | None = None) -> list[dict[str, np.ndarray]]:
        """Run all samples through one step before the next, and return all values they made.

        Args:
            samples: inputs by name.
            outputs: run only those steps that these values need; all when None.

        Raises:
            InputError: when an input is missing or does not fit.
            VendorToolError, ToolchainMissingError: when a part fails and that stops.
        """
        values: list[dict[str, np.ndarray]] = [dict(sample) for sample in samples]
        made: set[str] = set()
        for step in self._steps if outputs is None else self._needed(outputs):
            missing = [name for name in step.inputs if name not in values[0]] if values else []
            if missing:
                hint = f"step {step.name} reads {', '.join(step.inputs)}"
                raise InputError(f"input {missing[0]!r} is missing", hint=hint)
            feeds = [{name: known[name] for name in step.inputs} for known in values]
            for known, results in zip(values, self._run(step, feeds), strict=True):
                known.update(results)
            made.update(step.outputs)
        return [{name: array for name, array in known.items() if name in made} for known in values]

    def _needed(self, outputs: Sequence[str]) -> list[Step]:
        """Return the steps that make these values, and those that make what they read."""
        wanted = set(outputs)
        found: list[Step] = []
        for step in reversed(self._steps):
            if wanted.intersection(step.outputs):
                wanted.update(step.inputs)
                found.append(step)
        return found[::-1]

    def _run(self, step: Step, feeds: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        if step.name in self._on_cpu:
            return [self._on_cpu[step.name].run(sample, step.outputs) for sample in feeds]
        try:
            return self._run_compiled(step, feeds)
        except (NpuoptError, OSError) as error:
            if self._on_failure == "stop" or step.kind == "host":
                raise
            fallback = Fallback(step.name, step.road, str(error))
        self._on_cpu[step.name] = open_lean(self._folder / step.model)
        made = [self._on_cpu[step.name].run(sample, step.outputs) for sample in feeds]
        self.fallbacks.append(fallback)
        self._told(fallback)
        return made

    def _run_compiled(self, step: Step, feeds: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Run the compiled part of a step, which stays open where its delegate can keep it so."""
        if step.name not in self._open:
            files = tuple(str(PurePosixPath(file).relative_to(step.folder)) for file in step.files)
            region = CompiledRegion(step.road, self._folder / step.folder, files, figures=step.figures)
            delegate = find_delegate(step.road)
            if not isinstance(delegate, Opener):
                return delegate.run(region, feeds, self._target, limits=self._limits)
            self._open[step.name] = delegate.open(region)
        return self._open[step.name](feeds)
