"""Weights in blocks on the real Hexagon compiler: its simulator gives the numbers of ONNX Runtime's own kernel."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from npuopt.delegates.contract import Limits
from npuopt.delegates.qnn.delegate import QnnDelegate
from npuopt.errors import VendorToolError
from npuopt.graph.execution import Session
from npuopt.target import load_target

pytestmark = [pytest.mark.qnn, pytest.mark.xdist_group("qnn")]
pytest.importorskip("onnxruntime_qnn", reason="the qnn extra is not installed")

LIMITS = Limits(seconds=120, memory_mib=4096)


def product(path, rows, features, channels, *, bits=4, block=32, centred=True):
    """Write MatMulNBits with random weights whose blocks differ in size, and return its input."""
    random, blocks = np.random.default_rng(features), -(-features // block)
    weight = random.integers(0, 256, (channels, blocks, block * bits // 8), np.uint8)
    scales = np.exp(random.normal(-4, 0.6, (channels, blocks))).astype(np.float32)
    points = random.integers(0, 256, (channels, -(-blocks * bits // 8)), np.uint8)
    constants = {"w": weight, "s": scales} | ({} if centred else {"z": points})
    sizes = {"K": features, "N": channels, "bits": bits, "block_size": block}
    node = helper.make_node("MatMulNBits", ["x", *constants], ["y"], "product", domain="com.microsoft", **sizes)
    graph = helper.make_graph(
        [node],
        "packed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, rows, features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, rows, channels])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return {"x": random.standard_normal((1, rows, features), np.float32)}


def sqnr(path, sample, chip):
    (made,) = QnnDelegate().run_uncompiled(path, [sample], load_target(chip), limits=LIMITS)
    expected = Session(path).run(sample)["y"]
    return 10 * np.log10(np.square(expected).sum() / np.square(made["y"] - expected).sum())


@pytest.mark.parametrize("centred", [True, False], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize(
    ("rows", "features", "channels"),
    [(1, 640, 256), (128, 640, 256), (1, 2048, 640), (8, 96, 63), (8, 160, 1)],
)
def test_products_of_all_shapes(tmp_path, rows, features, channels, centred):
    sample = product(tmp_path / "p.onnx", rows, features, channels, centred=centred)
    assert sqnr(tmp_path / "p.onnx", sample, "qualcomm/sm8750") > 50


@pytest.mark.parametrize(("bits", "block"), [(2, 32), (4, 16), (4, 64), (4, 128), (8, 32)])
def test_bits_and_blocks(tmp_path, bits, block):
    sample = product(tmp_path / "p.onnx", 8, 256, 64, bits=bits, block=block)
    assert sqnr(tmp_path / "p.onnx", sample, "qualcomm/sm8750") > 50


@pytest.mark.parametrize("chip", ["qualcomm/sm8450", "qualcomm/sm8550", "qualcomm/sm8650", "qualcomm/sm8850"])
def test_every_chip_with_floats(tmp_path, chip):
    sample = product(tmp_path / "p.onnx", 8, 128, 64, centred=False)
    assert sqnr(tmp_path / "p.onnx", sample, chip) > 50


def test_what_the_descriptor_leaves_out_is_left_to_the_host(tmp_path):
    """Features that are no whole number of blocks, and any product on a chip without floats."""
    ragged = product(tmp_path / "ragged.onnx", 8, 100, 64)
    with pytest.raises(VendorToolError, match="MatMulNBits node 'product' to the host"):
        sqnr(tmp_path / "ragged.onnx", ragged, "qualcomm/sm8750")
    whole = product(tmp_path / "whole.onnx", 8, 128, 64)
    with pytest.raises(VendorToolError, match="to the host"):
        sqnr(tmp_path / "whole.onnx", whole, "qualcomm/qcs6490")
