"""Small graphs in ONNX text, float or quantized, and what LiteRT makes of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.parser

from npuopt.delegates.arrays import load_arrays, save_arrays
from npuopt.delegates.contract import Limits
from npuopt.delegates.litert.export import export
from npuopt.delegates.litert.interpret import WORKER
from npuopt.delegates.process import run_child
from npuopt.graph.execution import Session

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.delegates.litert.export import Exported

LIMITS = Limits(seconds=60, memory_mib=2048)
SYMMETRIC = {"int16": ("0.0002", "0", "int16"), "int8": ("0.03", "3", "int8")}


@dataclass
class Graph:
    """One graph: `body` reads the inputs and makes `y`, by way of constants in `given`.

    Attributes:
        body: nodes in ONNX text.
        inputs: name -> shape.
        output: shape of y.
        constants: name -> array.
    """

    body: str
    inputs: dict[str, str]
    output: str
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def in_float(self, path: Path) -> Path:
        """Save the graph as it is."""
        inputs = ", ".join(f"float[{shape}] {name}" for name, shape in self.inputs.items())
        return self._save(path, f"g ({inputs}) => (float[{self.output}] y) {{ {self.body} }}")

    def quantized(self, path: Path, dtype: str = "int8", output: str = "") -> Path:
        """Save the graph with inputs and output quantized; `output` is another scale and zero point for y."""
        scale, zero, kind = SYMMETRIC[dtype]
        out_scale, out_zero = output.split() if output else (scale, zero)
        inputs = ", ".join(f"float[{shape}] {name}" for name, shape in self.inputs.items())
        before = "".join(
            f"{name}_q = QuantizeLinear({name}, scale, zero) {name}_d = DequantizeLinear({name}_q, scale, zero)\n"
            for name in self.inputs
        )
        body = self.body.replace("y =", "y_real =")
        for name in self.inputs:
            body = body.replace(f"({name}", f"({name}_d").replace(f" {name}", f" {name}_d")
        after = "y_q = QuantizeLinear(y_real, oscale, ozero) y = DequantizeLinear(y_q, oscale, ozero)"
        held = f"float scale = {{{scale}}}, {kind} zero = {{{zero}}}"
        held += f", float oscale = {{{out_scale}}}, {kind} ozero = {{{out_zero}}}"
        return self._save(path, f"g ({inputs}) => (float[{self.output}] y) <{held}> {{ {before} {body} {after} }}")

    def _save(self, path: Path, text: str) -> Path:
        model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 24]>' + text)
        for name, array in self.constants.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        onnx.save(model, path)
        return path

    def sample(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Draw inputs."""
        generator = np.random.default_rng(seed)
        return {
            name: generator.uniform(-3, 3, [int(size) for size in shape.split(",")]).astype(np.float32)
            for name, shape in self.inputs.items()
        }


def weight(*shape: int, seed: int = 1) -> np.ndarray:
    """Draw integers of a weight."""
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def held(name: str, array: np.ndarray, axis: int | None = None) -> tuple[str, dict[str, np.ndarray]]:
    """Return a DequantizeLinear that reads `array` as `name`, with its constants; scales along `axis`."""
    count = 1 if axis is None else array.shape[axis]
    scales = (0.002 + 0.001 * np.arange(count)).astype(np.float32)
    zeros = np.zeros(count, array.dtype)
    if axis is None:
        scales, zeros = scales.reshape(()), zeros.reshape(())
    text = f"{name} = DequantizeLinear <axis = {axis or 0}> ({name}_stored, {name}_scale, {name}_zero)\n"
    return text, {f"{name}_stored": array, f"{name}_scale": scales, f"{name}_zero": zeros}


def run(model: Path, exported: Exported, sample: dict[str, np.ndarray], kernels: str = "reference") -> dict:
    """Run the TFLite file beside an ONNX file in a child process."""
    given, made = model.with_suffix(".in.npz"), model.with_suffix(".out.npz")
    save_arrays(given, [port.store(sample[port.name]) for port in exported.inputs])
    request = {
        "operation": "run",
        "model": str(model.with_suffix(".tflite")),
        "kernels": kernels,
        "inputs": [str(given)],
        "outputs": [str(made)],
    }
    run_child(WORKER, request, log=model.with_suffix(".log"), limits=LIMITS).require("the interpreter")
    ports = zip(exported.outputs, load_arrays(made), strict=True)
    return {port.name: port.restore(array) for port, array in ports}


def assert_same(
    model: Path,
    sample: dict[str, np.ndarray],
    *,
    steps: float,
    kernels: str = "reference",
    interpreted: bool = False,
    folded_means: bool = False,
) -> Exported:
    """Export a model and compare what LiteRT and ONNX Runtime compute; `steps` is the largest difference allowed."""
    exported = export(model, model.with_suffix(".tflite"), interpreted=interpreted, folded_means=folded_means)
    made = run(model, exported, sample, kernels)
    reference = Session(model).run(sample)
    for name, wanted in reference.items():
        assert made[name].shape == wanted.shape
        assert made[name].dtype == wanted.dtype
        worst = np.abs(made[name].astype(np.float64) - wanted).max()
        assert worst <= steps, f"{name} is off by {worst}: {json.dumps(exported.operators)}"
    return exported
