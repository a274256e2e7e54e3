"""The Ethos-U road: npuopt's own TFLite exporter, then Vela in its own environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from npuopt.delegates.contract import CompiledRegion
from npuopt.delegates.ethosu.summary import figures
from npuopt.delegates.litert.interpret import interpret
from npuopt.delegates.litert.placement import nodes_on_device
from npuopt.delegates.litert.region import MODEL_FILE, PORTS_FILE, export_region
from npuopt.delegates.litert.toolchain import ensure_available as ensure_interpreter
from npuopt.delegates.process import run_child
from npuopt.delegates.settings import settings_of
from npuopt.errors import VendorToolError
from npuopt.target.roads import EthosUDelegate as Chip
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

WORKER = Path(__file__).with_name("worker.py")
COMPILER = "the Ethos-U compiler (Vela)"
TOOLCHAIN = "vela"
NPU = "ethos-u"
"""Custom operator that holds a command stream."""
LOG_FILE = "vela.log"
KERNELS = "builtin"
"""Those of LiteRT whose rounding the NPU follows; XNNPACK's differ by one in places."""
NUMBERS = "LiteRT's interpreter on the TFLite model as Vela got it; there is no simulator of the NPU here"


class EthosUDelegate:
    """Compiles regions to TFLite models with a command stream for the NPU in them."""

    road: ClassVar[str] = "ethosu"

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when Vela's environment or LiteRT's interpreter is not installed."""
        environment(TOOLCHAIN)
        ensure_interpreter()

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Compile `model`: model.tflite as exported, model_vela.tflite for the NPU, Vela's summary and log.

        Raises:
            ToolchainMissingError: Vela is not installed.
            VendorToolError: a node has no TFLite form, or Vela failed or took nothing.
        """
        tool = environment(TOOLCHAIN)
        loaded, exported = export_region(model, folder, folded_means=True)
        request = {
            "operation": "compile",
            "model": str((folder / MODEL_FILE).resolve()),
            "folder": str(folder.resolve()),
            "options": options(target),
        }
        child = run_child(WORKER, request, log=folder / LOG_FILE, limits=limits, python=tool.python)
        answer = child.require(COMPILER, where=str(model))
        operators = operators_left(answer)
        if not any(name == NPU for name, _ in operators):
            why = next(iter(answer["reasons"].values()), "no reason given")
            raise VendorToolError(f"{COMPILER} left everything to the processor: {why}", where=str(model))
        nodes = nodes_on_device(loaded, operators, cast("Mapping[str, str]", answer["reasons"]), NPU)
        compiled = str(answer["compiled"])
        known: dict[str, Any] = {
            **figures(answer["summary"]),
            "accelerator": settings_of(target, Chip).accelerator,
            "operators": exported.operators,
            "npu_operators": sum(name == NPU for name, _ in operators),
            "binary_bytes": (folder / compiled).stat().st_size,
            "compile_seconds": float(answer["seconds"]),
            "numbers": NUMBERS,
            "toolchain": tool.record(),
        }
        files = (compiled, MODEL_FILE, PORTS_FILE, str(answer["summary_file"]))
        return CompiledRegion(self.road, folder, files, nodes, known, tool.tools(), LOG_FILE)

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run the TFLite model from before Vela in LiteRT's interpreter, once a sample.

        Raises:
            InputError: a sample does not fit.
            VendorToolError: the interpreter failed.
        """
        del target
        ensure_interpreter()
        return interpret(region.folder / MODEL_FILE, region.folder / PORTS_FILE, samples, KERNELS, limits=limits)

    def probe(
        self,
        questions: Sequence[Question],
        target: Target,
        *,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """Compile one-op models and run those that the NPU takes whole in LiteRT's interpreter."""
        from npuopt.delegates.ethosu.probe import probe  # noqa: PLC0415 -- imports this module

        return probe(questions, target, limits=limits, progress=progress)


def operators_left(answer: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the operators of the compiled file that the worker lists: name, names of the outputs."""
    return [(str(name), [str(tensor) for tensor in made]) for name, made in answer["operators"]]


def options(target: Target) -> list[str]:
    """Return Vela's command line for a target. Without all three of these Vela assumes memories that no chip has."""
    chip = settings_of(target, Chip)
    return [
        *("--accelerator-config", chip.accelerator),
        *("--system-config", chip.system_config),
        *("--memory-mode", chip.memory_mode),
        *("--config", "Arm/vela.ini"),
    ]
