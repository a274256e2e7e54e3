"""The LiteRT road: a region becomes a TFLite model, which LiteRT's interpreter runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from npuopt.delegates.contract import CompiledRegion
from npuopt.delegates.litert.interpret import interpret
from npuopt.delegates.litert.region import MODEL_FILE, PORTS_FILE, nodes_within, write_region
from npuopt.delegates.litert.toolchain import ensure_available
from npuopt.delegates.settings import settings_of
from npuopt.target.roads import LiteRtDelegate as Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

LOG_FILE = "litert.log"


class LiteRtDelegate:
    """Writes regions as TFLite models and runs them with the kernels that the target names."""

    road: ClassVar[str] = "litert"

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when the extra is not installed."""
        ensure_available()

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Write `model` into `folder` as model.tflite, with model.json about its edge, and run it with all kernels.

        Raises:
            ToolchainMissingError: the extra is not installed.
            VendorToolError: a node has no TFLite form, or the interpreter does not run the model.
        """
        log = folder / LOG_FILE
        written = write_region(model, folder, kernels_of(target), log=log, limits=limits, interpreted=True)
        nodes = nodes_within(written.model, written.exported)  # the interpreter took all of it
        files = (MODEL_FILE, PORTS_FILE)
        return CompiledRegion(self.road, folder, files, nodes, written.figures, written.tools, LOG_FILE)

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run a compiled region in the interpreter, once a sample.

        Raises:
            InputError: a sample does not fit.
            VendorToolError: the interpreter failed.
        """
        self.ensure_available()
        model, ports = region.folder / region.files[0], region.folder / PORTS_FILE
        return interpret(model, ports, samples, kernels_of(target), limits=limits)

    def probe(
        self,
        questions: Sequence[Question],
        target: Target,
        *,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """Export one-op models and run them, about 15 ms each."""
        from npuopt.delegates.litert.probe import probe  # noqa: PLC0415 -- imports this module

        return probe(questions, target, limits=limits, progress=progress)


def kernels_of(target: Target) -> str:
    """Return which kernels the target runs with."""
    return settings_of(target, Settings).kernels
