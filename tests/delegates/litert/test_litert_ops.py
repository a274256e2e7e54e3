"""The other families of ops: exported, run in LiteRT's interpreter and compared with ONNX Runtime."""

from __future__ import annotations

import pytest

pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")

import numpy as np
from delegates.litert.litert_cases import Graph, assert_same, held, weight

pytestmark = pytest.mark.litert

STEP = 0.031
HALF = {"half": np.array(0.5, np.float32)}


def ints(**values: list[int]) -> dict[str, np.ndarray]:
    return {name: np.array(value, np.int64) for name, value in values.items()}


SHAPE = "1,4,6,8"
QUANTIZED = {
    "add": ("y = Add(x, z)", SHAPE, {"ADD": 1}, {}),
    "max": ("y = Max(x, z)", SHAPE, {"MAXIMUM": 1}, {}),
    "concat": ("y = Concat <axis = 1> (x, z)", "1,8,6,8", {"CONCATENATION": 1}, {}),
    "gelu": ("y = Gelu(x)", SHAPE, {"GELU": 1}, {}),
    "hard-swish": ("y = HardSwish(x)", SHAPE, {"HARD_SWISH": 1}, {}),
    "leaky": ("y = LeakyRelu <alpha = 0.1> (x)", SHAPE, {"LEAKY_RELU": 1}, {}),
    "softmax": ("y = Softmax <axis = -1> (x)", SHAPE, {"SOFTMAX": 1, "QUANTIZE": 1}, {}),
    "softmax-inner": ("y = Softmax <axis = 1> (x)", SHAPE, {"SOFTMAX": 1, "QUANTIZE": 1, "TRANSPOSE": 1}, {}),
    "sigmoid": ("y = Sigmoid(x)", SHAPE, {"LOGISTIC": 1, "QUANTIZE": 1}, {}),
    "reshape": ("y = Reshape(x, to)", "2,96", {"RESHAPE": 1}, ints(to=[2, 96])),
    "transpose": ("y = Transpose <perm = [0, 2, 1, 3]> (x)", "1,6,4,8", {"TRANSPOSE": 1}, {}),
    "slice": (
        "y = Slice(x, b, e, a, s)",
        "1,4,3,5",
        {"STRIDED_SLICE": 1},
        ints(b=[0, 1], e=[6, -2], a=[2, 3], s=[2, 1]),
    ),
    "slice-back": ("y = Slice(x, b, e, a, s)", SHAPE, {"STRIDED_SLICE": 1}, ints(b=[-1], e=[-99], a=[3], s=[-1])),
    "gather": ("y = Gather <axis = 2> (x, i)", "1,4,2,8", {"GATHER": 1}, ints(i=[-1, 0])),
    "pad": ("y = Pad(x, p)", "1,4,8,8", {"PAD": 1}, ints(p=[0, 0, 1, 0, 0, 0, 1, 0])),
    "mean": ("y = ReduceMean <keepdims = 0> (x, a)", "1,4,6", {"MEAN": 1}, ints(a=[3])),
    "reduce-max": ("y = ReduceMax(x, a)", "1,4,1,8", {"REDUCE_MAX": 1}, ints(a=[2])),
    "resize": (
        'y = Resize <mode = "linear"> (x, , factors)',
        "1,4,12,16",
        {"RESIZE_BILINEAR": 1},
        {"factors": np.array([1, 1, 2, 2], np.float32)},
    ),
    "depth": ("y = DepthToSpace <blocksize = 2> (x)", "1,1,12,16", {"DEPTH_TO_SPACE": 1}, {}),
}


@pytest.mark.parametrize("name", QUANTIZED)
def test_ops_between_integers(tmp_path, name):
    body, output, operators, constants = QUANTIZED[name]
    graph = Graph(body, {"x": SHAPE, **({"z": SHAPE} if "z)" in body else {})}, output, constants)
    exported = assert_same(graph.quantized(tmp_path / "q.onnx"), graph.sample(), steps=STEP)
    assert exported.operators == operators


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
def test_all_16_bit_numbers_become_the_right_8_bit_ones_through_float(tmp_path, kernels):
    """Between integers alone LiteRT rounds 164 of them to the next step: twice, the first time to a 32nd of one."""
    scales = {
        "fine": np.array(0.00027252, np.float32),
        "fine_zero": np.array(0, np.int16),
        "coarse": np.array(0.01116247, np.float32),
        "coarse_zero": np.array(-124, np.int8),
    }
    body = """q = QuantizeLinear(x, fine, fine_zero) d = DequantizeLinear(q, fine, fine_zero)
r = QuantizeLinear(d, coarse, coarse_zero) y = DequantizeLinear(r, coarse, coarse_zero)"""
    path = Graph(body, {"x": "1,65536"}, "1,65536", scales).in_float(tmp_path / "q.onnx")
    sample = {"x": (np.arange(-32768, 32768) * np.float64(scales["fine"])).astype(np.float32)[None]}
    through = assert_same(path, sample, steps=0, kernels=kernels, interpreted=True)
    assert through.operators == {"DEQUANTIZE": 1, "QUANTIZE": 1}
    with pytest.raises(AssertionError, match=r"off by 0\.0111"):
        assert_same(path, sample, steps=0, kernels=kernels)


@pytest.mark.parametrize("op", ["Add", "Sub"])
def test_scales_of_powers_of_two_are_nothing_special_in_16_bits(tmp_path, op):
    scales = {"s": np.array(2**-12, np.float32), "nothing": np.array(0, np.int16)}
    body = f"""n_q = QuantizeLinear(x, s, nothing) n = DequantizeLinear(n_q, s, nothing)
m_q = QuantizeLinear(z, s, nothing) m = DequantizeLinear(m_q, s, nothing) y = {op}(m, n)"""
    graph = Graph(body, {"x": SHAPE, "z": SHAPE}, SHAPE, scales)
    path = graph.quantized(tmp_path / "q.onnx", "int16", output=f"{2**-13} 0")
    assert_same(path, graph.sample(), steps=2 * 2**-13)


FLOAT = {
    "matmul-transposed": (
        "t = Transpose <perm = [0, 1, 3, 2]> (z) y = MatMul(x, t)",
        "1,4,6,6",
        {"BATCH_MATMUL": 1},
        {},
    ),
    "split": ("u, v = Split <axis = 3> (x, n) y = Add(u, v)", "1,4,6,4", {"SPLIT": 1, "ADD": 1}, ints(n=[4, 4])),
    "split-unevenly": ("u, y = Split <axis = 3> (x, n)", "1,4,6,6", {"SPLIT_V": 1}, ints(n=[2, 6])),
    "broadcast": ("y = Mul(x, k)", SHAPE, {"MUL": 1}, {"k": np.linspace(-1, 1, 4, dtype=np.float32).reshape(4, 1, 1)}),
    "expand": (
        "a = ReduceSum(x, i) y = Expand(a, to)",
        SHAPE,
        {"SUM": 1, "BROADCAST_TO": 1},
        ints(i=[3], to=[1, 4, 6, 8]),
    ),
    "where": ("c = Greater(x, z) y = Where(c, x, z)", SHAPE, {"GREATER": 1, "SELECT_V2": 1}, {}),
    "root": (
        "a = Abs(x) b = Add(a, half) y = Pow(b, p)",
        SHAPE,
        {"ABS": 1, "ADD": 1, "RSQRT": 1},
        {**HALF, "p": np.array(-0.5, np.float32)},
    ),
}


@pytest.mark.parametrize("name", FLOAT)
def test_ops_in_float(tmp_path, name):
    body, output, operators, constants = FLOAT[name]
    graph = Graph(body, {"x": SHAPE, **({"z": SHAPE} if "z)" in body else {})}, output, constants)
    assert assert_same(graph.in_float(tmp_path / "f.onnx"), graph.sample(), steps=1e-4).operators == operators


def test_images_are_transposed_only_where_they_stop_being_images(tmp_path):
    text, constants = held("w", weight(4, 4, 3, 3), axis=0)
    body = text + "c = Conv <pads = [1, 1, 1, 1]> (x, w) r = Relu(c) m = Add(r, x) y = Reshape(m, to)"
    graph = Graph(body, {"x": "1,4,8,8"}, "1,256", {**constants, **ints(to=[1, 256])})
    exported = assert_same(graph.in_float(tmp_path / "m.onnx"), graph.sample(), steps=0.05)
    assert exported.operators["TRANSPOSE"] == 1


NORMALIZATIONS = {
    "layer": "y = LayerNormalization <axis = -1> (x, g, b)",
    "rms": "y = RMSNormalization <axis = -1> (x, g)",
}


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalizations_are_float_arithmetic_also_between_integers(tmp_path, name):
    constants = {"g": np.linspace(0.5, 1.5, 8, dtype=np.float32), "b": np.linspace(-1, 1, 8, dtype=np.float32)}
    graph = Graph(NORMALIZATIONS[name], {"x": "2,3,8"}, "2,3,8", constants)
    assert assert_same(graph.in_float(tmp_path / "f.onnx"), graph.sample(), steps=1e-5).operators["RSQRT"] == 1
    exported = assert_same(graph.quantized(tmp_path / "q.onnx"), graph.sample(), steps=STEP)
    assert exported.operators["DEQUANTIZE"] == 1
    assert exported.operators["QUANTIZE"] == 1


@pytest.mark.parametrize(("dtype", "steps"), [("int8", 0.03), ("int4", 0.03)])
def test_integer_weights_beside_float_data(tmp_path, dtype, steps):
    import ml_dtypes  # noqa: PLC0415 -- what ONNX tools hold 4-bit numbers in

    integers = weight(16, 12)
    array = (integers // 16).astype(ml_dtypes.int4) if dtype == "int4" else integers
    text, constants = held("w", array, axis=1)
    graph = Graph(text + "y = MatMul(x, w)", {"x": "2,3,16"}, "2,3,12", constants)
    exported = assert_same(graph.in_float(tmp_path / "m.onnx"), graph.sample(), steps=steps * 3)
    assert exported.operators == {"FULLY_CONNECTED": 1}


def test_a_matrix_of_several_inputs_keeps_its_rank(tmp_path):
    text, constants = held("w", weight(16, 12), axis=1)
    graph = Graph(text + "y = MatMul(x, w)", {"x": "2,3,16"}, "2,3,12", constants)
    exported = assert_same(graph.quantized(tmp_path / "m.onnx", output="0.25 0"), graph.sample(), steps=0.26)
    assert exported.operators == {"FULLY_CONNECTED": 1}
    assert exported.outputs[0].shape == (2, 3, 12)
