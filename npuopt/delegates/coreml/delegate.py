"""The Apple road: an own translator from ONNX to MIL, and Core ML Tools to write the package."""

from __future__ import annotations

import json
import platform
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import onnx

from npuopt.delegates.arrays import SampleFiles
from npuopt.delegates.contract import CompiledRegion
from npuopt.delegates.coreml.hand_over import hand_over, states_of
from npuopt.delegates.process import run_child
from npuopt.delegates.samples import check_sample, read_header, run_time_inputs, write_interface
from npuopt.delegates.settings import settings_of
from npuopt.errors import VendorToolError
from npuopt.target.roads import CoreMlDelegate as Chip
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target

TOOL = "Core ML Tools"
WORKER = Path(__file__).with_name("worker.py")
PACKAGE = "model.mlpackage"
INTERFACE_FILE = "interface.onnx"
LOG_FILE = "coremltools.log"


class CoreMlDelegate:
    """Translates regions to Core ML packages. They run on macOS only; elsewhere their structure is checked."""

    road: ClassVar[str] = "coreml"
    not_probed: ClassVar[str] = (
        "Core ML, which gives each operation its processor, is part of macOS; coremltools writes the package and"
        " places nothing"
    )

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when Core ML Tools are not installed."""
        environment("coreml")

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Translate `model` into `model.mlpackage`, read it back, and account for every node and held weight.

        Raises:
            ToolchainMissingError: Core ML Tools are not installed.
            VendorToolError: a node has no translation, Core ML Tools fail, or a held weight is not in what was
                written.
        """
        chip = settings_of(target, Chip)
        loaded = onnx.load(str(model))  # pyright: ignore[reportUnknownMemberType] -- its file argument is untyped
        package = folder / PACKAGE
        with tempfile.TemporaryDirectory(prefix="npuopt-coreml-") as scratch:
            graph_file, weights_file = Path(scratch) / "graph.json", Path(scratch) / "weights.npz"
            graph = hand_over(loaded, weights_file)
            graph_file.write_text(json.dumps(graph), encoding="utf-8")
            request = {
                "operation": "compile",
                "graph": str(graph_file),
                "weights": str(weights_file),
                "output": str(package.resolve()),
                "deployment": chip.deployment,
                "palette_bits": chip.palette_bits or 0,
            }
            python = environment("coreml").python
            child = run_child(WORKER, request, log=folder / LOG_FILE, limits=limits, python=python)
            answer = child.require(TOOL, where=str(model))
        _account(graph, answer, model)
        write_interface(read_header(model), folder / INTERFACE_FILE)
        written = sorted(path for path in package.rglob("*") if path.is_file())
        figures: dict[str, Any] = {
            "deployment": chip.deployment,
            "mil_operations": dict(answer["operations"]),
            "nodes_translated": len(graph["nodes"]),
            "weight_elements": dict(answer["weight_elements"]),
            "held_weights": int(answer["held"]),
            "states": len(graph["states"]),
            "float_weights_unchanged": f"{answer['float_weights_kept']} of {answer['float_weights']}",
            "package_bytes": sum(path.stat().st_size for path in written),
            "compile_seconds": float(answer["seconds"]),
            "licence": "coremltools: BSD-3-Clause",
        }
        files = (*(path.relative_to(folder).as_posix() for path in written), INTERFACE_FILE)
        here = f"this machine is {platform.system()} on {platform.machine()}"
        elsewhere = "" if sys.platform == "darwin" else f"compiled for Core ML, which runs on Apple's systems; {here}"
        return CompiledRegion(
            self.road, folder, files, figures=figures, tools=answer["tools"], log=LOG_FILE, elsewhere=elsewhere
        )

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run the package with Core ML, once a sample.

        Raises:
            InputError: a sample does not fit.
            VendorToolError: this is no Mac, or Core ML failed.
        """
        del target
        header = read_header(region.folder / INTERFACE_FILE)
        inputs, outputs = run_time_inputs(header), list(header.graph.output)
        for sample in samples:
            check_sample(sample, inputs)
        if sys.platform != "darwin":
            raise VendorToolError("Core ML runs on macOS only", hint="take the .mlpackage to a Mac")
        with tempfile.TemporaryDirectory(prefix="npuopt-coreml-") as scratch:
            files = SampleFiles.write(
                Path(scratch), ([_narrow(sample[value.name]) for value in inputs] for sample in samples)
            )
            request = {
                "operation": "run",
                "model": str((region.folder / PACKAGE).resolve()),
                "names": [port_name(value.name) for value in inputs],
                "results": [port_name(value.name) for value in outputs],
                "states": _state_places(header, [value.name for value in inputs], [value.name for value in outputs]),
                **files.request,
            }
            log, python = Path(scratch) / LOG_FILE, environment("coreml").python
            run_child(WORKER, request, log=log, limits=limits, python=python).require(TOOL, where=str(region.folder))
            return [
                {
                    value.name: array.astype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
                    for value, array in zip(outputs, arrays, strict=True)
                }
                for arrays in files.results()
            ]


def _state_places(header: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> list[tuple[int, int]]:
    """Return where each state stands among the inputs, and where among the outputs."""
    return [(inputs.index(given), outputs.index(made)) for given, made in states_of(header).items()]


def port_name(name: str) -> str:
    """Return an input's or output's name as the translator writes it."""
    plain = re.sub(r"\W", "_", name)
    return plain if re.match(r"[A-Za-z_]", name) else f"v_{plain}"


def _narrow(array: np.ndarray) -> np.ndarray:
    """Return an array in a type that Core ML's inputs have."""
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    bounds = np.iinfo(np.int32)
    return np.clip(array.astype(np.int64), bounds.min, bounds.max).astype(np.int32)


def _account(graph: Mapping[str, Any], answer: Mapping[str, Any], model: Path) -> None:
    """Check that every node was translated, and that every held weight was read back as it was handed over."""
    missing = [node["name"] for node in graph["nodes"] if node["name"] not in answer["emitted"]]
    if missing:
        raise VendorToolError(f"{len(missing)} node(s) were not translated, first {missing[0]!r}", where=str(model))
    if lost := list(answer["held_lost"]):
        what = f"{len(lost)} held weight(s) are not in the package as they were handed over, first {lost[0]!r}"
        raise VendorToolError(what, where=str(model))
