"""The Sony road: a quantized region becomes a model with Sony's quantizers, which the IMX500 converter packs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from npuopt.delegates.contract import CompiledRegion, NodeOnDevice
from npuopt.delegates.imx500.quantizers import write_quantizers
from npuopt.delegates.process import run_child
from npuopt.delegates.sample_runs import SampleRunner
from npuopt.delegates.samples import read_header
from npuopt.errors import VendorToolError
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

WORKER = Path(__file__).with_name("worker.py")
COMPILER = "the IMX500 converter"
TOOLCHAIN = "imx500"
BINARY_FILE, MODEL_FILE, PLACES_FILE, LOG_FILE = "packerOut.zip", "model.onnx", "dnnParams.xml", "imx500.log"
FIGURES = {
    "Runtime Memory Physical Size": "runtime_bytes",
    "Model Memory Physical Size": "weights_bytes",
    "Memory Usage": "memory_bytes",
    "Total Memory Available On Chip": "chip_bytes",
}
"""Names in the converter's memory report -> ours."""
NUMBERS = "ONNX Runtime with the quantizers of mct-quantizers on the model as the converter got it; it has no simulator"


class Imx500Delegate:
    """Packs regions for the sensor. The converter takes a network as a whole or refuses it, op by op named."""

    road: ClassVar[str] = "imx500"

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when the converter's environment is not installed."""
        environment(TOOLCHAIN)

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Convert `model`: model.onnx as the converter got it, packerOut.zip, dnnParams.xml, its memory report.

        Raises:
            ToolchainMissingError: the converter is not installed.
            VendorToolError: the converter refuses a node, or the network does not fit the sensor's memory.
        """
        del target  # one chip
        tool = environment(TOOLCHAIN)
        known = {**pack(model, folder, limits=limits), "numbers": NUMBERS, "toolchain": tool.record()}
        nodes = tuple(NodeOnDevice(node.name, node.op_type, on_npu=True) for node in read_header(model).graph.node)
        files = (BINARY_FILE, MODEL_FILE, PLACES_FILE, f"{Path(MODEL_FILE).stem}_MemoryReport.json")
        return CompiledRegion(self.road, folder, files, nodes, known, tool.tools(), LOG_FILE)

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run what the converter got in ONNX Runtime, with Sony's quantizers, once a sample, all in one child.

        Raises:
            InputError: a sample does not fit.
            VendorToolError: it failed.
        """
        del target
        header = read_header(region.folder / MODEL_FILE)
        request = {"operation": "run", "model": str((region.folder / MODEL_FILE).resolve())}
        runner = SampleRunner("mct-quantizers in ONNX Runtime", WORKER, environment(TOOLCHAIN).python)
        return runner.run(request, header, samples, where=str(region.folder), limits=limits)[0]

    def probe(
        self,
        questions: Sequence[Question],
        target: Target,
        *,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """Ask about one-op models: the converter's reader, Sony's quantizers in ONNX Runtime, the whole converter."""
        from npuopt.delegates.imx500.probe import probe  # noqa: PLC0415 -- imports this module

        del target  # one chip
        return probe(questions, limits=limits, progress=progress)


def pack(model: Path, folder: Path, *, limits: Limits) -> dict[str, Any]:
    """Write the quantized `model` as the converter takes it, and convert it, all in `folder`; returns the figures.

    Raises:
        ToolchainMissingError: the converter is not installed.
        VendorToolError: the converter refuses it, or it does not fit the sensor's memory.
    """
    write_quantizers(model, folder / MODEL_FILE)
    request = {
        "operation": "convert",
        "model": str((folder / MODEL_FILE).resolve()),
        "folder": str(folder.resolve()),
    }
    child = run_child(WORKER, request, log=folder / LOG_FILE, limits=limits, python=environment(TOOLCHAIN).python)
    answer = child.require(COMPILER, where=str(model))
    return {
        **memory_figures(answer["memory"], str(model)),
        "binary_bytes": (folder / BINARY_FILE).stat().st_size,
        "compile_seconds": float(answer["seconds"]),
    }


def memory_figures(report: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the sizes of a memory report in bytes.

    Raises:
        VendorToolError: the network does not fit, or the report is not as converter 3.19 writes it.
    """
    try:
        sizes = {ours: round(float(str(report[theirs]).removesuffix("B"))) for theirs, ours in FIGURES.items()}
        fits = bool(report["Fit In Chip"])
    except (KeyError, ValueError) as error:
        raise VendorToolError(f"{COMPILER}'s memory report is of an unknown form ({error})", where=where) from error
    if not fits:
        what = f"it takes {sizes['memory_bytes']} of the sensor's {sizes['chip_bytes']} bytes"
        raise VendorToolError(what, where=where, hint="a smaller network, or a smaller input")
    return sizes
