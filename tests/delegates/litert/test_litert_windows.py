"""Convolutions and pools of the exporter against ONNX Runtime."""

from __future__ import annotations

import pytest

pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")

import numpy as np
from delegates.litert.litert_cases import Graph, assert_same, held, weight

pytestmark = pytest.mark.litert

STEP = 0.031  # one step of the int8 output: TFLite and ONNX Runtime round sums differently by at most one


def conv(attributes: str, shape: str, kernel: tuple[int, ...], output: str, tail: str = "") -> Graph:
    text, constants = held("w", weight(*kernel), axis=0)
    bias = np.linspace(-900, 900, kernel[0]).astype(np.int32)
    scales = constants["w_scale"] * np.float32(0.03)
    more = {"b_stored": bias, "b_scale": scales, "b_zero": np.zeros(kernel[0], np.int32)}
    body = text + "b = DequantizeLinear <axis = 0> (b_stored, b_scale, b_zero)\n"
    body += f"c = Conv <{attributes}> (x, w, b) {tail} y = Relu(c)" if tail else f"y = Conv <{attributes}> (x, w, b)"
    return Graph(body, {"x": shape}, output, {**constants, **more})


CONVS = {
    "same": conv("pads = [1, 1, 1, 1]", "1,4,8,8", (6, 4, 3, 3), "1,6,8,8"),
    "valid": conv("kernel_shape = [3, 3]", "1,4,8,8", (6, 4, 3, 3), "1,6,6,6"),
    "strided-begin-heavy": conv("pads = [1, 1, 1, 1], strides = [2, 2]", "1,4,8,8", (6, 4, 3, 3), "1,6,4,4"),
    "dilated": conv("dilations = [2, 2]", "1,4,9,9", (6, 4, 3, 3), "1,6,5,5"),
    "depthwise": conv("group = 4, pads = [1, 1, 1, 1]", "1,4,8,8", (4, 1, 3, 3), "1,4,8,8"),
    "depthwise-multiplied": conv("group = 4, pads = [1, 1, 1, 1]", "1,4,8,8", (8, 1, 3, 3), "1,8,8,8"),
    "batch": conv("pads = [1, 1, 1, 1]", "3,4,8,8", (6, 4, 3, 3), "3,6,8,8"),
}


@pytest.mark.parametrize("name", CONVS)
def test_convolutions_between_integers(tmp_path, name):
    graph = CONVS[name]
    exported = assert_same(graph.quantized(tmp_path / "m.onnx"), graph.sample(), steps=STEP)
    kind = "DEPTHWISE_CONV_2D" if "depthwise" in name else "CONV_2D"
    assert exported.operators == ({kind: 1, "PAD": 1} if "begin" in name else {kind: 1})
    assert exported.inputs[0].dtype == "int8"
    assert exported.inputs[0].order == (0, 2, 3, 1)


@pytest.mark.parametrize("name", ["same", "depthwise"])
def test_convolutions_with_16_bit_activations(tmp_path, name):
    graph = CONVS[name]
    graph.constants["b_scale"] = graph.constants["w_scale"] * np.float32(0.0002)
    exported = assert_same(graph.quantized(tmp_path / "m.onnx", "int16"), graph.sample(), steps=0.00021)
    assert exported.inputs[0].dtype == "int16"


def test_an_activation_goes_into_the_operator(tmp_path):
    graph = conv("pads = [1, 1, 1, 1]", "1,4,8,8", (6, 4, 3, 3), "1,6,8,8", tail="\n")
    assert assert_same(graph.quantized(tmp_path / "m.onnx"), graph.sample(), steps=STEP).operators == {"CONV_2D": 1}


POOLS = {
    "max-same": (
        "MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 1, 1]> (x)",
        "1,4,4,4",
        {"MAX_POOL_2D": 1},
    ),
    "max-padded": (
        "MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x)",
        "1,4,4,4",
        {"MAX_POOL_2D": 1, "PADV2": 1},
    ),
    "average": ("AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (x)", "1,4,4,4", {"AVERAGE_POOL_2D": 1}),
    "average-same": ("AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)", "1,4,8,8", {"AVERAGE_POOL_2D": 1}),
    "average-counting": (
        "AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (x)",
        "1,4,8,8",
        {"AVERAGE_POOL_2D": 1, "PAD": 1},
    ),
    "global": ("GlobalAveragePool(x)", "1,4,1,1", {"MEAN": 1}),
    "global-max": ("GlobalMaxPool(x)", "1,4,1,1", {"REDUCE_MAX": 1}),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools(tmp_path, name):
    body, output, operators = POOLS[name]
    graph = Graph(f"y = {body}", {"x": "1,4,8,8"}, output)
    assert assert_same(graph.quantized(tmp_path / "q.onnx"), graph.sample(), steps=STEP).operators == operators
    assert_same(graph.in_float(tmp_path / "f.onnx"), graph.sample(), steps=1e-6)


def test_means_of_images_are_over_rows_and_columns(tmp_path):
    graph = Graph("y = GlobalAveragePool(x)", {"x": "1,4,8,8"}, "1,4,1,1")
    exported = assert_same(graph.quantized(tmp_path / "m.onnx"), graph.sample(), steps=STEP)
    assert exported.inputs[0].order == (0, 2, 3, 1)  # an NPU does not take means over channels of images


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_means_over_few_positions_are_convolutions_for_vela(tmp_path, dtype):
    graph = Graph("y = GlobalAveragePool(x)", {"x": "1,48,7,7"}, "1,48,1,1")
    model = graph.quantized(tmp_path / "m.onnx", dtype, "0.004 -5" if dtype == "int8" else "")
    scale = {"int8": 0.004, "int16": 0.0002}[dtype]
    exported = assert_same(model, graph.sample(), steps=1.01 * scale, folded_means=True)
    assert exported.operators == {"DEPTHWISE_CONV_2D": 1, "RESHAPE": 2}


@pytest.mark.parametrize("shape", ["1,48,9,9", "2,48,7,7", "1,20,7,7", "1,48,1,1"])
def test_means_over_more_positions_of_several_images_or_of_few_channels_stay(tmp_path, shape):
    count, channels = shape.split(",")[:2]
    graph = Graph("y = GlobalAveragePool(x)", {"x": shape}, f"{count},{channels},1,1")
    exported = assert_same(graph.quantized(tmp_path / "m.onnx"), graph.sample(), steps=STEP, folded_means=True)
    assert "DEPTHWISE_CONV_2D" not in exported.operators


@pytest.mark.parametrize("attributes", ["strides = [2, 2]", "strides = [2, 2], pads = [1, 1, 1, 1]"])
def test_transposed_convolutions(tmp_path, attributes):
    text, constants = held("w", weight(4, 6, 4, 4), axis=1)
    size = 14 if "pads" not in attributes else 12
    size = (6 - 1) * 2 + 4 - (2 if "pads" in attributes else 0)
    graph = Graph(text + f"y = ConvTranspose <{attributes}> (x, w)", {"x": "1,4,6,6"}, f"1,6,{size},{size}", constants)
    exported = assert_same(graph.quantized(tmp_path / "m.onnx"), graph.sample(), steps=STEP)
    assert exported.operators["TRANSPOSE_CONV"] == 1
