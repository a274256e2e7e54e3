"""Roads whose tools take a float model and quantize it themselves: Espressif's esp-ppq and Kendryte's nncase."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from npuopt.delegates.arrays import SampleFiles
from npuopt.delegates.contract import CompiledRegion
from npuopt.delegates.process import run_child
from npuopt.delegates.samples import check_sample, read_header, run_time_inputs
from npuopt.delegates.settings import settings_of
from npuopt.errors import InputError, ToolchainMissingError, UsageError
from npuopt.target.roads import EspressifDelegate as EspressifChip
from npuopt.target.roads import KendryteDelegate as KendryteChip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target

WORKER = Path(__file__).with_name("worker.py")
MODEL_FILE, SCRIPT_FILE, REQUEST_FILE, DATA_FILE = "model.onnx", "compile_model.py", "request.json", "calibration.npz"
ENCODINGS_FILE = "encodings.json"
"""What esp-ppq quantized with; nncase writes none."""
MOST_SAMPLES = 512
"""Of calibration data; esp-ppq takes 2 to 512."""
COMMAND = f"python {SCRIPT_FILE} {REQUEST_FILE} answer.json"
NUMBERS = "ONNX Runtime on the float model"


@dataclass(frozen=True)
class Tool:
    """A vendor's tool.

    Attributes:
        title: as the start of a sentence.
        variable: environment variable that names a Python with the tool; with `_DATA`, the calibration data.
        install: what such a Python has.
        result: the file that the tool makes.
        simulator: what computes the tool's quantized numbers.
    """

    title: str
    variable: str
    install: str
    result: str
    simulator: str

    def next_step(self) -> str:
        """Say what is left to do where the tool is not named."""
        return (
            f"not compiled here: in an environment with {self.install}, put calibration data into this folder as"
            f" {DATA_FILE} (an array for each input, samples first) and run: {COMMAND}; it makes {self.result}"
        )

    def find(self) -> tuple[str, Path] | None:
        """Return the Python that has the tool and the calibration data, or None where no tool is named.

        Raises:
            ToolchainMissingError: the variable names nothing that can be run.
            UsageError: no data is named.
            InputError: the data is no file.
        """
        named = os.environ.get(self.variable)
        if not named:
            return None
        python, data = shutil.which(named), os.environ.get(f"{self.variable}_DATA")
        if python is None:
            raise ToolchainMissingError(
                f"{self.variable} names {named}, which cannot be run",
                hint=f"name the Python of an environment with {self.install}, or unset it to stop at the float model",
            )
        if not data:
            raise UsageError(
                f"{self.title} quantizes by calibration data, and {self.variable}_DATA names none",
                hint="name an npz with an array for each input, samples first",
            )
        if not Path(data).is_file():
            raise InputError("is no file", where=f"{self.variable}_DATA={data}")
        return python, Path(data).resolve()


class PostTrainingDelegate(ABC):
    """Writes the float model and how to compile it, and compiles where the user names tool and data."""

    road: ClassVar[str]
    tool: ClassVar[Tool]

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when the variable names a tool that is not there."""
        self.tool.find()

    @abstractmethod
    def settings(self, target: Target) -> Mapping[str, Any]:
        """Return what the tool is told of the chip.

        Raises:
            InternalError: when the target belongs to another road.
        """

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Write model.onnx in an opset that the tool reads, a script and its request; compile where the tool is named.

        Raises:
            InputError: a node has no form in that opset, or the region's inputs are not all float.
            ToolchainMissingError: the variable names a Python without the tool.
            VendorToolError: the tool refuses, crashes, hangs, or takes too much memory.
        """
        opset = _write_model(model, folder / MODEL_FILE, target.delegate.max_opset)
        request = self._request(folder, target)
        (folder / REQUEST_FILE).write_text(json.dumps(request, indent=2) + "\n", encoding="utf-8")
        shutil.copyfile(WORKER, folder / SCRIPT_FILE)
        files = (MODEL_FILE, SCRIPT_FILE, REQUEST_FILE)
        size = (folder / MODEL_FILE).stat().st_size
        figures: dict[str, Any] = {"opset": opset, "model_bytes": size, "numbers": NUMBERS, **request["settings"]}
        tools = {"onnxruntime": version("onnxruntime")}
        found = self.tool.find()
        if found is None:
            figures["compiled"] = self.tool.next_step()
            return CompiledRegion(self.road, folder, files, figures=figures, tools=tools)
        answer = self._call(found, request, str(model), folder, limits, folder / self._log())
        figures["numbers"] = self.tool.simulator
        figures["calibration_samples"] = int(answer["samples"])
        figures["compile_seconds"] = float(answer["seconds"])
        figures["binary_bytes"] = (folder / self.tool.result).stat().st_size
        tools |= {str(name): str(known) for name, known in answer["tools"].items()}
        made = (self.tool.result, *(name for name in (ENCODINGS_FILE,) if (folder / name).is_file()))
        return CompiledRegion(self.road, folder, (*made, *files), figures=figures, tools=tools, log=self._log())

    def _request(self, folder: Path, target: Target) -> dict[str, Any]:
        """Return what the worker is told of the model in `folder`, with paths relative to it."""
        return {
            "road": self.road,
            "model": MODEL_FILE,
            "data": DATA_FILE,
            "inputs": _inputs(folder / MODEL_FILE),
            "output": self.tool.result,
            "samples": MOST_SAMPLES,
            "settings": dict(self.settings(target)),
        }

    def _call(
        self,
        found: tuple[str, Path],
        request: Mapping[str, Any],
        where: str,
        folder: Path,
        limits: Limits,
        log: Path,
    ) -> Mapping[str, Any]:
        python, data = found
        here = folder.resolve()
        places = {"model": str(here / MODEL_FILE), "output": str(here / self.tool.result), "data": str(data)}
        child = run_child(WORKER, {**request, **places}, log=log, limits=limits, python=python)
        answer = child.require(self.tool.title, where=where)
        if "missing" in answer:
            why = " ".join(str(answer["missing"]).split())
            raise ToolchainMissingError(
                f"{self.tool.variable} names {python}, which does not have {self.tool.title} ({why})",
                hint=f"install {self.tool.install} there",
            )
        return answer

    def _log(self) -> str:
        return f"{self.road}.log"

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run what was compiled in the tool's simulator; where nothing was, the float model on ONNX Runtime.

        Raises:
            InputError: a sample does not fit.
            ToolchainMissingError: something was compiled, and the tool is not named any more.
            VendorToolError: the simulator failed.
        """
        if self.tool.result not in region.files:
            from npuopt.graph import Session  # noqa: PLC0415 -- onnxruntime is heavy

            session = Session(region.folder / MODEL_FILE)
            return [session.run(sample) for sample in samples]
        found = self.tool.find()
        if found is None:
            raise ToolchainMissingError(
                f"{self.tool.title} compiled this region, and {self.tool.variable} does not name it",
                hint=f"name the Python of an environment with {self.tool.install}, and the calibration data again",
            )
        return self._simulate(found, region, samples, target, limits)

    def _simulate(
        self,
        found: tuple[str, Path],
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        header = read_header(region.folder / MODEL_FILE)
        inputs, names = run_time_inputs(header), [value.name for value in header.graph.output]
        for sample in samples:
            check_sample(sample, inputs)
        request = self._request(region.folder, target)
        with tempfile.TemporaryDirectory(prefix="npuopt-simulate-") as scratch:
            files = SampleFiles.write(Path(scratch), ([sample[value.name] for value in inputs] for sample in samples))
            told = {"given": files.request["inputs"], "made": files.request["outputs"], "results": names}
            log = Path(scratch) / self._log()
            self._call(found, {**request, **told}, str(region.folder), region.folder, limits, log)
            return [dict(zip(names, arrays, strict=True)) for arrays in files.results()]


class EspressifDelegate(PostTrainingDelegate):
    """Packs float regions for ESP-DL with esp-ppq, which quantizes to powers of two."""

    road: ClassVar[str] = "espressif"
    not_probed: ClassVar[str] = (
        "esp-ppq needs torch, so it is called where NPUOPT_ESP_PPQ names it, by `npuopt compile`, one model a call"
    )
    tool: ClassVar[Tool] = Tool(
        "esp-ppq", "NPUOPT_ESP_PPQ", "esp-ppq 1.3.12 and torch", "model.espdl", "esp-ppq's executor"
    )

    def settings(self, target: Target) -> Mapping[str, Any]:
        """Return the tool's name of the chip and the bits to quantize to."""
        chip = settings_of(target, EspressifChip)
        return {"chip": chip.chip, "bits": chip.bits}


class KendryteDelegate(PostTrainingDelegate):
    """Compiles float regions for the K230 with nncase."""

    road: ClassVar[str] = "kendryte"
    not_probed: ClassVar[str] = (
        "nncase needs the .NET runtime, so it is called where NPUOPT_NNCASE names it, by `npuopt compile`, one"
        " model a call"
    )
    tool: ClassVar[Tool] = Tool(
        "nncase",
        "NPUOPT_NNCASE",
        "nncase and nncase-kpu 2.11.0 and the .NET 7 runtime",
        "model.kmodel",
        "nncase's simulator",
    )

    def settings(self, target: Target) -> Mapping[str, Any]:
        """Return the compiler's name of the chip and the types to quantize to."""
        chip = settings_of(target, KendryteChip)
        return {"chip": chip.chip, "activation": chip.activation, "weight": chip.weight}


def _write_model(model: Path, path: Path, opset: int | None) -> int:
    """Write `model` in one file and an opset that the tool reads; return that opset."""
    import onnx_ir as ir  # noqa: PLC0415 -- heavy

    from npuopt.graph import Session, load, save, write_down  # noqa: PLC0415 -- onnx and onnxruntime are heavy

    loaded = load(model)
    write_down(loaded, opset or loaded.opset_imports[""], str(model))
    for node in loaded.graph:
        if node.op_type.startswith("Reduce") and "keepdims" not in node.attributes:
            node.attributes.add(ir.AttrInt64("keepdims", 1))  # its default, which esp-ppq 1.3.12 does not know
    save(loaded, path, external_data=False)
    Session(path)
    return loaded.opset_imports[""]


def _inputs(model: Path) -> list[list[Any]]:
    """Return name and shape of each input.

    Raises:
        InputError: one is not float32: the tools take calibration data as float alone.
    """
    found: list[list[Any]] = []
    for value in run_time_inputs(read_header(model)):
        kind = value.type.tensor_type
        if kind.elem_type != 1:  # onnx.TensorProto.FLOAT
            raise InputError("is not float32, which the tool calibrates by", where=f"input {value.name!r}")
        found.append([value.name, [int(dim.dim_value) for dim in kind.shape.dim]])
    return found
