"""Channels-last: moved through what can follow, and back in place for what cannot."""

import numpy as np
import pytest
from delegates.host_cases import assert_as_onnx_runtime, model_of

from npuopt.delegates.host.tvm_api import relax, tvm
from npuopt.delegates.host.tvm_import import import_model
from npuopt.delegates.host.tvm_layout import move_channels_last

RANDOM = np.random.default_rng(3)
FILTER = RANDOM.standard_normal((8, 4, 1, 1)).astype(np.float32)
BIAS = RANDOM.standard_normal((8, 1, 1)).astype(np.float32)
FIRST = "c = Conv (x, w)"
X = "float[1,4,6,5] x"


def transposes(model) -> int:
    """How many transposes there are after the move."""
    module = move_channels_last(import_model(model))
    passes = [relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()]
    return str(tvm.transform.Sequential(passes)(module)).count("permute_dims")


@pytest.mark.parametrize(
    ("then", "result"),
    [
        ("a = Add (c, b) y = Relu (a)", "1,8,6,5"),
        ("s = Sigmoid (c) y = Mul (c, s)", "1,8,6,5"),
        ("y = HardSwish (c)", "1,8,6,5"),
        ("y = Concat <axis = 1> (c, c)", "1,16,6,5"),
        ("y = Concat <axis = -2> (c, c)", "1,8,12,5"),
        ("y = GlobalAveragePool (c)", "1,8,1,1"),
        ("g = GlobalAveragePool (c) s = Sigmoid (g) y = Mul (c, s)", "1,8,6,5"),
        ("y = MaxPool <kernel_shape = [3, 2], strides = [2, 1], pads = [1, 0, 1, 1]> (c)", "1,8,3,5"),
        ("y = AveragePool <kernel_shape = [2, 2], pads = [1, 1, 0, 0], count_include_pad = 1> (c)", "1,8,6,5"),
        ("y = Conv (c, v)", "1,4,6,5"),
    ],
)
def test_what_follows_a_convolution_stays_channels_last(then, result):
    turned = np.ascontiguousarray(FILTER.transpose(1, 0, 2, 3))
    model = model_of(f"{FIRST} {then}", X, f"float[{result}] y", w=FILTER, b=BIAS, v=turned)
    assert transposes(model) == 2
    assert_as_onnx_runtime(model)


@pytest.mark.parametrize(
    ("then", "result"),
    [
        ("y = Softmax <axis = 1> (c)", "1,8,6,5"),
        ("y = Reshape (c, s)", "8,30"),
        ("y = Add (c, r)", "1,8,6,5"),
        ("y = ReduceMean <keepdims = 0> (c, axes)", "1,8"),
        ("y = Transpose <perm = [0, 3, 1, 2]> (c)", "1,5,8,6"),
        ("y = MatMul (c, m)", "1,8,6,2"),
        ("n = ReduceLogSumExp <keepdims = 1> (c, axes) y = Add (c, n)", "1,8,6,5"),
    ],
)
def test_whatever_knows_no_layout_sees_what_it_saw(then, result):
    model = model_of(
        f"{FIRST} {then}", X, f"float[{result}] y", w=FILTER, s=np.array([8, 30]), axes=np.array([2, 3]),
        r=RANDOM.standard_normal((1, 8, 6, 5)).astype(np.float32), m=RANDOM.standard_normal((5, 2)).astype(np.float32),
    )  # fmt: skip
    assert_as_onnx_runtime(model)


@pytest.mark.parametrize(
    ("attributes", "filters", "result"),
    [
        ("strides = [2, 2]", (4, 3, 2, 2), "1,3,12,10"),
        ("strides = [2, 3], pads = [1, 0, 0, 2]", (4, 3, 3, 4), "1,3,12,14"),
        ("strides = [3, 2], output_padding = [2, 1]", (4, 3, 2, 1), "1,3,19,10"),
        ("group = 2, strides = [2, 2]", (4, 3, 3, 3), "1,6,13,11"),
        ("", (4, 3, 3, 3), "1,3,8,7"),
        ("dilations = [2, 2]", (4, 3, 2, 2), "1,3,8,7"),
    ],
)
def test_a_transposed_convolution(attributes, filters, result):
    weights = {"w": RANDOM.standard_normal(filters).astype(np.float32)}
    channels = int(result.split(",")[1])
    weights["b"] = RANDOM.standard_normal(channels).astype(np.float32)
    body = f"y = ConvTranspose <{attributes}> (x, w, b)" if attributes else "y = ConvTranspose (x, w, b)"
    assert_as_onnx_runtime(model_of(body, X, f"float[{result}] y", **weights))
