"""The Intel road: OpenVINO's representation always, the NPU's blob where the vendor's NPU compiler is at hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from npuopt.delegates.contract import CompiledRegion, NodeOnDevice
from npuopt.delegates.openvino.blob import read_platform
from npuopt.delegates.openvino.importer import refusal
from npuopt.delegates.process import run_child
from npuopt.delegates.sample_runs import SampleRunner
from npuopt.delegates.samples import read_header, write_interface
from npuopt.delegates.settings import settings_of
from npuopt.errors import VendorToolError
from npuopt.target.roads import OpenVinoDelegate as Chip
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

TOOL = "OpenVINO"
WORKER = Path(__file__).with_name("worker.py")
MODEL_FILE, WEIGHTS_FILE, BLOB_FILE = "model.xml", "model.bin", "model.blob"
INTERFACE_FILE = "interface.onnx"
LOG_FILE = "openvino.log"
LICENCE = "openvino: Apache-2.0"
COMPILER_LIBRARIES = ("openvino_intel_npu_compiler_loader", "openvino_intel_npu_compiler")
NO_COMPILER = (
    "not made: OpenVINO's Linux package lacks the NPU compiler; put libopenvino_intel_npu_compiler.so and"
    " libopenvino_intel_npu_compiler_loader.so, of the same release's archive or NPU driver, beside its libraries"
    " (openvino/libs), or compile the .xml on Windows, whose package has them"
)


class OpenVinoDelegate:
    """Converts regions to OpenVINO's representation, compiles them for Intel NPUs, and runs them on the CPU device."""

    road: ClassVar[str] = "openvino"

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when OpenVINO is not installed."""
        interpreter()

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Convert `model`, account for every operation of the result, and compile it where there is a compiler.

        The folder gets `model.xml` and `model.bin`; `model.blob` where the NPU compiler is found.

        Raises:
            ToolchainMissingError: OpenVINO is not installed.
            VendorToolError: it refuses the model, the compiler found does not work, or it compiled for another
                platform or device than asked.
        """
        platform = settings_of(target, Chip).platform
        output, blob = folder / MODEL_FILE, folder / BLOB_FILE
        request = {
            "operation": "compile",
            "model": str(model.resolve()),
            "output": str(output.resolve()),
            "blob": str(blob.resolve()),
            "platform": platform,
        }
        child = run_child(WORKER, request, log=folder / LOG_FILE, limits=limits, python=interpreter())
        answer = child.require(TOOL, where=str(model))
        operations = [(str(name), str(kind)) for name, kind in answer["operations"]]
        figures: dict[str, Any] = {
            "npu_platform": platform,
            "npu_operations": dict(sorted(Counter(kind for _, kind in operations).items())),
            "constant_bytes": dict(answer["constants"]),
            "weights_bytes": (folder / WEIGHTS_FILE).stat().st_size,
            "compile_seconds": float(answer["seconds"]),
            "licence": LICENCE,
        }
        files, tools = (MODEL_FILE, WEIGHTS_FILE), dict(answer["tools"])
        taken: set[str] | None = None
        libraries = [str(name) for name in answer["compiler"]]
        if not libraries:
            figures["blob"] = NO_COMPILER
        else:
            said = _require_blob(answer["npu"], libraries, blob, platform, model)
            taken, files = {str(name) for name in said["taken"]}, (*files, BLOB_FILE)
            tools["npu-compiler"] = str(said["version"])
            figures |= {"blob_bytes": blob.stat().st_size, "blob_seconds": float(said["seconds"])}
        write_interface(read_header(model), folder / INTERFACE_FILE)
        return CompiledRegion(
            self.road, folder, (*files, INTERFACE_FILE), _nodes(operations, taken), figures, tools, LOG_FILE
        )

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run the representation on OpenVINO's CPU device, once a sample: float32, quantization as the graph has it.

        Raises:
            InputError: a sample does not fit, or the region's files are damaged.
            VendorToolError: OpenVINO failed, or ran it elsewhere.
        """
        del target  # the representation is the same for every platform
        header = read_header(region.folder / INTERFACE_FILE)
        model = region.folder / MODEL_FILE
        request = {
            "operation": "run",
            "model": str(model.resolve()),
            "results": [value.name for value in header.graph.output],
        }
        runner = SampleRunner(TOOL, WORKER, interpreter())
        results, answer = runner.run(request, header, samples, where=str(model), limits=limits)
        if answer["devices"] != ["CPU"]:
            raise VendorToolError(f"{TOOL} ran it on {answer['devices']}, not on its CPU device")
        return results

    def probe(
        self,
        questions: Sequence[Question],
        target: Target,
        *,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """Ask the ONNX front end, the NPU compiler's table of operations, and the CPU device for numbers."""
        from npuopt.delegates.openvino.probe import probe  # noqa: PLC0415 -- imports this module

        del target  # one table for every platform
        return probe(questions, limits=limits, progress=progress)


def interpreter() -> str:
    """Return the interpreter that has OpenVINO.

    Raises:
        ToolchainMissingError: there is none.
    """
    return environment("openvino").python


def _require_blob(
    said: Mapping[str, Any], libraries: Sequence[str], blob: Path, platform: str, model: Path
) -> Mapping[str, Any]:
    """Check that the NPU compiler that was found works, compiled for the NPU alone, and for `platform`."""
    stems = {name.removeprefix("lib").partition(".")[0] for name in libraries}
    if missing := [name for name in COMPILER_LIBRARIES if name not in stems]:
        found = f"beside {', '.join(libraries)}"
        raise VendorToolError(f"the NPU compiler is incomplete: {missing[0]} is missing {found}", where=str(model))
    if (refused := said.get("refused")) is not None:
        hint = "the compiler's libraries and OpenVINO have to be of one release"
        raise VendorToolError(f"the NPU compiler refused it: {_short(refused)}", where=str(model), hint=hint)
    devices = cast("list[str]", said["devices"])
    if not devices or any(not device.startswith("NPU") for device in devices):
        raise VendorToolError(f"it was compiled for {devices or 'no device'}, not for the NPU alone", where=str(model))
    built = read_platform(blob)
    if built != platform:
        raise VendorToolError(f"the blob was built for NPU {built}, not {platform}", where=str(blob))
    return said


def _nodes(operations: Sequence[tuple[str, str]], taken: set[str] | None) -> tuple[NodeOnDevice, ...]:
    """Say of every operation whether the NPU takes it: by the compiler's word, or by its table where it is not here."""

    def reason(name: str, kind: str) -> str:
        if taken is None:
            return refusal(kind)
        return "" if name in taken else "the NPU compiler does not take it"

    reasons = [(name, kind, reason(name, kind)) for name, kind in operations]
    return tuple(NodeOnDevice(name, kind, on_npu=not why, reason=why) for name, kind, why in reasons)


def _short(text: object) -> str:
    return " ".join(str(text).split())[-400:]
