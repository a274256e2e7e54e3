"""The IREE road: a region becomes one IREE module for a processor, linked by IREE itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from npuopt.delegates.asking import Worker
from npuopt.delegates.contract import CompiledRegion
from npuopt.delegates.host.linking import architecture_of, this_architecture
from npuopt.delegates.process import run_child
from npuopt.delegates.sample_runs import SampleRunner
from npuopt.delegates.samples import read_header, write_interface
from npuopt.delegates.settings import settings_of
from npuopt.errors import UsageError
from npuopt.target.roads import IreeDelegate as Processor
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

TOOL = "IREE"
WORKER = Path(__file__).with_name("worker.py")
MODULE_FILE, INTERFACE_FILE, LOG_FILE = "model.vmfb", "interface.onnx", "iree.log"
BATCH = 50
"""Models per child: one takes a second or so to compile."""
LARGEST_ERROR = 1e-3
"""Difference from ONNX Runtime, as a fraction of its largest magnitude, up to which numbers are right: two steps of
float16, in which IREE sums up what ONNX Runtime sums up in float32; float32 itself is three digits closer."""


class IreeDelegate:
    """Compiles regions to `model.vmfb`, which IREE's runtime loads, and runs them single-threaded."""

    road: ClassVar[str] = "iree"

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when IREE is not installed."""
        environment("iree")

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Compile `model`, whose shapes are static, into `folder`.

        Raises:
            ToolchainMissingError: IREE is not installed.
            VendorToolError: IREE refuses the model or fails.
        """
        processor, installed = settings_of(target, Processor), environment("iree")
        output = folder / MODULE_FILE
        request = {
            "operation": "compile",
            "model": str(model.resolve()),
            "output": str(output.resolve()),
            **_settings(processor),
        }
        child = run_child(WORKER, request, log=folder / LOG_FILE, limits=limits, python=installed.python)
        answer = child.require(TOOL, where=str(model))
        write_interface(read_header(model), folder / INTERFACE_FILE)
        figures: dict[str, Any] = {
            "triple": processor.triple,
            "cpu": processor.cpu,
            "module_bytes": output.stat().st_size,
            "compile_seconds": float(answer["seconds"]),
            "function": str(answer["function"]),
            "licence": f"IREE: {installed.licence}",
        }
        return CompiledRegion(
            self.road,
            folder,
            (MODULE_FILE, INTERFACE_FILE),
            figures=figures,
            tools=dict(answer["tools"]),
            log=LOG_FILE,
            elsewhere=_elsewhere(processor.triple),
        )

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run a compiled region on this machine, once a sample.

        Raises:
            UsageError: it was compiled for another kind of machine.
            InputError: a sample does not fit the region's inputs.
            VendorToolError: the module crashed or does not load.
        """
        if elsewhere := _elsewhere(settings_of(target, Processor).triple):
            raise UsageError(elsewhere, where=str(region.folder), hint="run it there with IREE's runtime")
        header = read_header(region.folder / INTERFACE_FILE)
        request = {
            "operation": "run",
            "model": str((region.folder / MODULE_FILE).resolve()),
            "function": header.graph.name,
        }
        runner = SampleRunner(TOOL, WORKER, environment("iree").python)
        return runner.run(request, header, samples, where=str(region.folder), limits=limits)[0]

    def probe(
        self,
        questions: Sequence[Question],
        target: Target,
        *,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """Compile every question's model, run it, and compare with ONNX Runtime.

        Raises:
            UsageError: the target is another kind of machine.
        """
        processor = settings_of(target, Processor)
        if elsewhere := _elsewhere(processor.triple):
            raise UsageError(elsewhere, where=target.name, hint="probe the target of this machine")
        settings, python = _settings(processor), environment("iree").python
        worker = Worker(TOOL, WORKER, python, LARGEST_ERROR, settings=settings, batch=BATCH)
        return worker.ask(questions, limits=limits, progress=progress)


def _settings(processor: Processor) -> dict[str, Any]:
    return {"triple": processor.triple, "cpu": processor.cpu, "features": list(processor.features)}


def _elsewhere(triple: str) -> str:
    """Return why what was compiled for `triple` does not run here, or an empty string."""
    here = this_architecture()
    return "" if architecture_of(triple) == here else f"compiled for {triple}; this machine is {here}"
