"""Small models for the host roads' tests, and what compiles and runs them inside the test's own process."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from npuopt.delegates.host.linking import LINKERS, find_zig
from npuopt.delegates.host.tvm_api import tvm
from npuopt.delegates.host.tvm_import import import_model
from npuopt.delegates.host.tvm_pipeline import build, make_target
from npuopt.graph import Model, Session, infer_shapes
from npuopt.target import Target, parse_target

if TYPE_CHECKING:
    import onnx

X86 = "x86_64-unknown-linux-gnu"
needs_linker = pytest.mark.skipif(
    not any(map(shutil.which, LINKERS)) and find_zig() is None,
    reason="NOT TESTED: there is nothing to link with; pip install ziglang",
)


def model_of(body: str, inputs: str, outputs: str, **weights: np.ndarray) -> onnx.ModelProto:
    """A model from ONNX text and weights: `model_of("y = MatMul (x, w)", "float[2,3] x", "float[2,4] y", w=...)`."""
    text = f'<ir_version: 10, opset_import: ["" : 24]> g ({inputs}) => ({outputs}) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def read(model: onnx.ModelProto) -> Model:
    """The model as npuopt sees it, shapes inferred."""
    read_model = ir.from_proto(model)
    infer_shapes(read_model)
    return read_model


def sample_for(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs: floats around zero, integers from 0 to 3."""
    random = np.random.default_rng(seed)
    sample: dict[str, np.ndarray] = {}
    for value in model.graph.input:
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        drawn = random.standard_normal(shape) if kind.kind == "f" else random.integers(0, 4, shape)
        sample[value.name] = drawn.astype(kind)
    return sample


def compile_and_run(
    model: onnx.ModelProto, sample: dict[str, np.ndarray], cpu: str = "x86-64-v3"
) -> tuple[list[np.ndarray], list[str]]:
    """What TVM makes of a model here and now, and the functions that did not get the planned schedule."""
    executable, plain = build(import_model(model), make_target(X86, cpu))
    machine = tvm.relax.VirtualMachine(executable, tvm.cpu())
    result = machine["main"](*[tvm.runtime.tensor(np.require(array, requirements="C")) for array in sample.values()])
    results = [result] if hasattr(result, "numpy") else list(result)
    return [item.numpy() for item in results], plain


def relative_error(made: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference as a fraction of the largest magnitude."""
    assert made.shape == reference.shape
    assert made.dtype == reference.dtype
    difference = np.abs(made.astype(np.float64) - reference.astype(np.float64)).max(initial=0.0)
    return float(difference / (np.abs(reference.astype(np.float64)).max(initial=0.0) or 1.0))


def assert_as_onnx_runtime(model: onnx.ModelProto, *, planned: bool = True, cpu: str = "x86-64-v3") -> None:
    """TVM's numbers are ONNX Runtime's to 1e-4, with the schedule that was planned."""
    sample = sample_for(model)
    made, plain = compile_and_run(model, sample, cpu)
    reference = list(Session(ir.from_proto(model), threads=1).run(sample).values())
    assert len(made) == len(reference)
    assert max(map(relative_error, made, reference)) <= 1e-4
    assert bool(plain) is not planned, plain


def processor_yaml(triple: str = X86, cpu: str = "x86-64-v3", cross_compiler: str = "") -> str:
    """The descriptor of a target of the TVM road that takes one operator."""
    linker = f", cross_compiler: {cross_compiler}" if cross_compiler else ""
    return f"""
name: host/test
title: a processor
source: this test
delegate: {{road: tvm, triple: {triple}, cpu: {cpu}{linker}}}
schemes: {{fp32: {{activation: float32}}}}
ops: {{Relu: {{schemes: [fp32]}}}}
"""


def processor(triple: str = X86, cpu: str = "x86-64-v3", cross_compiler: str = "") -> Target:
    """The same as a target."""
    return parse_target(processor_yaml(triple, cpu, cross_compiler))
