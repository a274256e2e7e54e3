"""What runs the static graphs of a language model: ONNX Runtime, or the compiled parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph.lean import open_lean
from npuopt.runtime.steps import StepRunner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from npuopt.bundle.language_model import GraphPart
    from npuopt.delegates.contract import Limits
    from npuopt.graph.execution import Session
    from npuopt.runtime.steps import Fallback, OnFailure, Told
    from npuopt.target import Target

    Arrays = Mapping[str, np.ndarray]


class CpuEngine:
    """Runs each graph's model in ONNX Runtime; opened when it is first needed.

    Args:
        folder: the artifact's.
        threads: of each session; 0: as many as there are cores.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        self._folder, self._threads = folder, threads
        self._sessions: dict[str, Session] = {}

    def run(self, part: GraphPart, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Run a static graph once and return its outputs by name; see `Engine.run`."""
        if part.name not in self._sessions:
            self._sessions[part.name] = open_lean(self._folder / part.model, threads=self._threads)
        return self._sessions[part.name].run(feeds, outputs)


class DeviceEngine:
    """Runs each graph's compiled parts: on a vendor's simulator, or on the host itself.

    Args:
        folder: the artifact's.
        target: what it was compiled for.
        limits: of each vendor tool run.
        on_failure: what happens where a part fails, see `StepRunner`.
        told: called for each part that falls to the CPU.
    """

    def __init__(
        self,
        folder: Path,
        target: Target,
        limits: Limits,
        *,
        on_failure: OnFailure = "stop",
        told: Told = lambda _: None,
    ) -> None:
        self._folder, self._target, self._limits = folder, target, limits
        self._on_failure: OnFailure = on_failure
        self._told = told
        self._runners: dict[str, StepRunner] = {}

    @property
    def fallbacks(self) -> list[Fallback]:
        """The parts that fell to the CPU."""
        return [fallback for runner in self._runners.values() for fallback in runner.fallbacks]

    def run(self, part: GraphPart, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Run a static graph once and return its outputs by name; see `Engine.run`."""
        if part.name not in self._runners:
            self._runners[part.name] = StepRunner(
                self._folder / part.folder,
                part.steps,
                self._target,
                self._limits,
                on_failure=self._on_failure,
                told=self._told,
            )
        return self._runners[part.name].run([feeds], outputs)[0]
