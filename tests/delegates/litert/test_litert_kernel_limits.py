"""Nodes that LiteRT's integer kernels refuse, or compute badly, are computed in float between integers."""

from __future__ import annotations

import pytest

pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")

import numpy as np
from delegates.litert.litert_cases import Graph, assert_same, run

from npuopt.delegates.litert.export import export
from npuopt.graph.execution import Session

pytestmark = pytest.mark.litert

SUM = """n_q = QuantizeLinear(x, wide, nothing) n = DequantizeLinear(n_q, wide, nothing)
m_q = QuantizeLinear(z, fine, nothing) m = DequantizeLinear(m_q, fine, nothing) y = {}(m, n)"""


def scales(wide: float, fine: float) -> dict[str, np.ndarray]:
    return {
        "wide": np.array(wide, np.float32),
        "fine": np.array(fine, np.float32),
        "nothing": np.array(0, np.int16),
    }


@pytest.mark.parametrize("op", ["Add", "Sub"])
def test_a_sum_that_ends_the_interpreter_is_computed_in_float(tmp_path, op):
    """A tensor of zeros, such as a first state, has steps of one: 16,384 times those of the sum, and more."""
    graph = Graph(SUM.format(op), {"x": "1,64", "z": "1,64"}, "1,64", scales(wide=1.0, fine=6.1e-5))
    path = graph.quantized(tmp_path / "q.onnx", "int16", output="0.000061 0")
    exported = assert_same(path, graph.sample(), steps=0)
    assert exported.operators[op.upper()] == 1
    assert "too fine" in " ".join(exported.in_float.values())


@pytest.mark.parametrize("op", ["Add", "Sub"])
def test_steps_just_coarse_enough_stay_integers(tmp_path, op):
    graph = Graph(SUM.format(op), {"x": "1,64", "z": "1,64"}, "1,64", scales(wide=0.9, fine=6.1e-5))
    path = graph.quantized(tmp_path / "q.onnx", "int16", output="0.000061 0")
    exported = export(path, path.with_suffix(".tflite"))
    assert not exported.in_float
    run(path, exported, graph.sample())


COARSE = {
    "hard-swish": ("y = HardSwish(x)", "int8", "0.02 -110"),
    "hard-swish of 16 bits": ("y = HardSwish(x)", "int16", f"{1 / 8192} 0"),
    "negation": ("y = Neg(x)", "int8", ""),
    "root": (
        "z = Relu(x) z_q = QuantizeLinear(z, scale, zero) z_d = DequantizeLinear(z_q, scale, zero) y = Sqrt(z_d)",
        "int8",
        "0.0069 -128",
    ),
    "mean": ("y = ReduceMean <keepdims = 1> (x, last)", "int8", "0.0085 -7"),
    "softmax": ("y = Softmax <axis = -1> (x)", "int16", f"{1 / 32768} 0"),
    "sigmoid": ("y = Sigmoid(x)", "int16", f"{1 / 32768} 0"),
    "tanh": ("y = Tanh(x)", "int16", f"{1 / 32768} 0"),
    "exponential": ("y = Exp(x)", "int16", "0.0007 0"),
}
LAST = {"last": np.array([-1])}


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
@pytest.mark.parametrize("case", COARSE)
def test_what_kernels_are_coarse_at_is_exact_in_float(tmp_path, case, kernels):
    """In 16 bits a step off is left now and then: float32 itself rounds what lies halfway."""
    body, kind, output = COARSE[case]
    graph = Graph(body, {"x": "64,64"}, "64,1" if case == "mean" else "64,64", LAST)
    path = graph.quantized(tmp_path / "q.onnx", kind, output=output)
    step = float(output.split()[0]) if output else 0.03
    steps = step * (0.5 if kind == "int8" else 1.001)
    exported = assert_same(path, graph.sample(), steps=steps, kernels=kernels, interpreted=True)
    assert "integers of its formula" in " ".join(exported.in_float.values())


def test_a_compiler_of_npus_gets_coarse_operators_in_integers(tmp_path):
    graph = Graph("y = HardSwish(x)", {"x": "64,64"}, "64,64")
    path = graph.quantized(tmp_path / "q.onnx", output="0.02 -110")
    assert export(path, path.with_suffix(".tflite")).operators == {"HARD_SWISH": 1}


@pytest.mark.parametrize(("kind", "output"), [("int8", "0.025 -20"), ("int16", "0.0001 0")])
def test_a_negation_in_integers_minds_both_encodings(tmp_path, kind, output):
    """LiteRT's NEG would give the negated integers, whatever they stand for."""
    graph = Graph("y = Neg(x)", {"x": "64,64"}, "64,64")
    path = graph.quantized(tmp_path / "q.onnx", kind, output=output)
    exported = assert_same(path, graph.sample(), steps=float(output.split()[0]) * 1.01, kernels="builtin")
    assert exported.operators == {"MUL": 1}


def test_a_compiler_of_npus_gets_the_softmax_in_integers(tmp_path):
    """It has kernels of its own; in LiteRT's the largest of 6,625 numbers comes out at 0.71 instead of 1."""
    graph = Graph("y = Softmax <axis = -1> (x)", {"x": "1,6625"}, "1,6625")
    path = graph.quantized(tmp_path / "q.onnx", "int16", output=f"{1 / 32768} 0")
    sample = {"x": np.full((1, 6625), -6, np.float32)}
    sample["x"][:, 0] = 6
    exported = export(path, path.with_suffix(".tflite"))
    assert exported.operators == {"SOFTMAX": 1}
    assert not exported.in_float
    made, wanted = run(path, exported, sample)["y"], Session(path).run(sample)["y"]
    assert made.argmax() == wanted.argmax() == 0
    assert made.max() == pytest.approx(0.68, abs=0.05)
