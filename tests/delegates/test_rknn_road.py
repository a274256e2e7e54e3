"""The Rockchip road with the real toolkit: a trained network in 8 bits, and what falls back in silence."""

from __future__ import annotations

import numpy as np
import pytest

from npuopt import api
from npuopt.delegates.contract import Limits
from npuopt.delegates.rknn.delegate import RknnDelegate
from npuopt.errors import VendorToolError
from npuopt.graph import save
from npuopt.graph.execution import Session
from npuopt.road.options import CompileOptions
from npuopt.runtime import Artifact
from npuopt.target import load_target
from npuopt.verify import compare_runs
from support.paths import EXAMPLES
from support.rewrites import model_from
from support.toolchains import needs_toolchain

pytestmark = pytest.mark.toolchain

LIMITS = Limits(seconds=120, memory_mib=4096)


@pytest.fixture(scope="module", autouse=True)
def toolkit():
    return needs_toolchain("rknn")


def test_a_trained_network_in_8_bits_keeps_30_db_in_the_simulator(tmp_path):
    folder = EXAMPLES / "fashion_mnist"
    images = np.load(folder / "calibration.npz")["input"][:, None]
    np.savez(tmp_path / "data.npz", input=images[:64])
    options = CompileOptions(
        dims={"batch": 1}, calibration=tmp_path / "data.npz", precision="a8w8", samples=1, verify="each"
    )
    manifest = api.compile(folder / "model.onnx", "rockchip/rk3588", tmp_path / "out", options)
    assert manifest.placement.npu_fraction == 1.0
    [step] = manifest.steps
    assert step.figures["toolchain"]["versions"] == {"rknn-toolkit2": "2.5.0"}
    assert step.figures["cycles"]["npu"] > 10_000
    assert step.figures["weights_bytes"] > 50_000
    layers = next(stage for stage in manifest.verification if stage.name == "layers of npu-0")
    assert len(layers.outputs) > 15
    assert all((layer.cosine or 0) > 0.99 for layer in layers.outputs.values())
    samples = [{"input": image} for image in images[-8:]]
    made = Artifact.open(tmp_path / "out").run(samples, engine="device", limits=LIMITS)
    session = Session(folder / "model.onnx")
    [logits] = compare_runs([session.run(sample) for sample in samples], made).values()
    assert logits.sqnr_db >= 30


def test_a_node_that_the_toolkit_hands_to_the_processor_in_silence_is_found(tmp_path):
    text = "(float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y) { [round] r = Asinh(x) [positive] y = Relu(r) }"
    save(model_from(text), tmp_path / "region.onnx")
    (tmp_path / "out").mkdir()
    target = load_target("rockchip/rk3588")
    region = RknnDelegate().compile(tmp_path / "region.onnx", tmp_path / "out", target, limits=LIMITS)
    assert [(node.name, node.on_npu) for node in region.nodes if node.name == "round"] == [("round", False)]


def test_what_the_toolkit_refuses_is_one_sentence(tmp_path):
    text = "(float[n, 4, 8, 8] x) => (float[n, 4, 8, 8] y) { [positive] y = Relu(x) }"
    save(model_from(text), tmp_path / "region.onnx")
    (tmp_path / "out").mkdir()
    with pytest.raises(VendorToolError, match=r"RKNN-Toolkit2 refused it: .*is not support"):
        RknnDelegate().compile(
            tmp_path / "region.onnx", tmp_path / "out", load_target("rockchip/rk3562"), limits=LIMITS
        )
