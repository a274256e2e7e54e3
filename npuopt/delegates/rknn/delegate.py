"""The Rockchip road: RKNN-Toolkit2 in its own environment builds regions, and simulates them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from npuopt.delegates.arrays import load_arrays, save_arrays
from npuopt.delegates.contract import CompiledRegion
from npuopt.delegates.process import run_child
from npuopt.delegates.rknn.layers import write_with_layers
from npuopt.delegates.rknn.opset import write_down
from npuopt.delegates.rknn.placement import figures, nodes_on_device
from npuopt.delegates.sample_runs import SampleRunner
from npuopt.delegates.samples import check_sample, read_header, run_time_inputs
from npuopt.delegates.settings import settings_of
from npuopt.target.roads import RknnDelegate as Chip
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import onnx

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

WORKER = Path(__file__).with_name("worker.py")
COMPILER = "RKNN-Toolkit2"
SIMULATOR = f"{COMPILER}'s simulator"
TOOLCHAIN = "rknn"
BINARY_FILE, MODEL_FILE, LAYERS_FILE, LOG_FILE = "model.rknn", "model.onnx", "layers.json", "rknn.log"
OPSET = 19
"""Newest that RKNN-Toolkit2 2.5.0 reads: `Unsupport onnx opset 24, need <= 19!`."""

OUT_OF_8_BITS = ("fuse_concat_conv",)
"""Rules of the toolkit that take a Concat in 8 bits and the convolution behind it into fp16; chips without fp16 then
fail: `The Conv('NAME') not supported 'float16' dtype at rv1103/rv1106!`"""


class RknnDelegate:
    """Builds regions, in float or with their own encodings, as .rknn files."""

    road: ClassVar[str] = "rknn"

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when the toolkit's environment is not installed."""
        environment(TOOLCHAIN)

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Build `model` as model.rknn, with what the toolkit read (model.onnx) and its table of layers beside it.

        Raises:
            ToolchainMissingError: the toolkit is not installed.
            VendorToolError: the toolkit failed, printed no whole table, or has an older opset than the region needs.
        """
        tool = environment(TOOLCHAIN)

        chip = settings_of(target, Chip)
        write_down(model, folder / MODEL_FILE, chip.max_opset or OPSET)
        with tempfile.TemporaryDirectory(prefix="npuopt-rknn-") as scratch:
            request = {
                "operation": "build",
                "model": str((folder / MODEL_FILE).resolve()),
                "output": str((folder / BINARY_FILE).resolve()),
                "platform": chip.platform,
                "without": _without(read_header(folder / MODEL_FILE)),
                "folder": scratch,
            }
            child = run_child(WORKER, request, log=folder / LOG_FILE, limits=limits, python=tool.python)
            answer = child.require(COMPILER, where=str(model))
        layers: list[dict[str, str]] = answer["layers"]
        (folder / LAYERS_FILE).write_text(json.dumps(layers, indent=1) + "\n", encoding="utf-8")
        known: dict[str, Any] = {
            **figures(layers, answer["memory"]),
            "platform": chip.platform,
            "binary_bytes": (folder / BINARY_FILE).stat().st_size,
            "compile_seconds": float(answer["seconds"]),
            "numbers": "the toolkit's simulator, on what it builds anew from model.onnx",
            "toolchain": tool.record(),
        }
        nodes = nodes_on_device(read_header(model).graph, layers, answer["not_lowered"])
        files = (BINARY_FILE, MODEL_FILE, LAYERS_FILE)
        return CompiledRegion(self.road, folder, files, nodes, known, tool.tools(), LOG_FILE)

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run a region in the toolkit's simulator, once a sample, all in one child.

        Raises:
            InputError: a sample does not fit.
            VendorToolError: the simulator failed.
        """
        header = read_header(region.folder / MODEL_FILE)
        request = {
            "operation": "simulate",
            "model": str((region.folder / MODEL_FILE).resolve()),
            "platform": settings_of(target, Chip).platform,
            "without": _without(header),
            "shapes": [_shape(value) for value in header.graph.output],
        }
        runner = SampleRunner(SIMULATOR, WORKER, environment(TOOLCHAIN).python)
        return runner.run(request, header, samples, where=str(region.folder), limits=limits)[0]

    def run_layers(
        self, region: CompiledRegion, sample: Mapping[str, np.ndarray], target: Target, *, limits: Limits
    ) -> dict[str, np.ndarray]:
        """Run a region in the simulator once and return what its layers make, by tensor.

        The simulator builds the model anew with these tensors as outputs; those that it fuses away are left out.

        Raises:
            InputError: the sample does not fit.
            VendorToolError: the simulator failed.
        """
        tool = environment(TOOLCHAIN)
        with tempfile.TemporaryDirectory(prefix="npuopt-rknn-") as scratch:
            model, given, made = (Path(scratch) / name for name in (MODEL_FILE, "in.npz", "out.npz"))
            names = write_with_layers(region.folder / MODEL_FILE, model)
            inputs = run_time_inputs(read_header(model))
            check_sample(sample, inputs)
            save_arrays(given, [sample[value.name] for value in inputs])
            request = {
                "operation": "layers",
                "model": str(model),
                "names": names,
                "inputs": str(given),
                "outputs": str(made),
                "platform": settings_of(target, Chip).platform,
                "without": _without(read_header(region.folder / MODEL_FILE)),
                "folder": scratch,
            }
            child = run_child(WORKER, request, log=Path(scratch) / LOG_FILE, limits=limits, python=tool.python)
            left = child.require(SIMULATOR, where=str(region.folder))["names"]
            return dict(zip(left, load_arrays(made), strict=True))

    def probe(
        self,
        questions: Sequence[Question],
        target: Target,
        *,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """Build and simulate one-op models; what the table of layers puts on the processor counts as refused."""
        from npuopt.delegates.rknn.probe import probe  # noqa: PLC0415 -- imports this module

        return probe(questions, settings_of(target, Chip), limits=limits, progress=progress)


def _without(model: onnx.ModelProto) -> list[str]:
    """List the rules that the toolkit is not to apply to a model."""
    return list(OUT_OF_8_BITS) if any(node.op_type == "QuantizeLinear" for node in model.graph.node) else []


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    return [int(dim.dim_value) for dim in value.type.tensor_type.shape.dim]
