"""What Qualcomm's compiler computes otherwise than the graph says, and what is done so that it does not come up."""

import numpy as np
import onnx
import onnx.parser
import pytest

from npuopt import api
from npuopt.road.options import CompileOptions
from support.stepping import literal

pytestmark = [pytest.mark.qnn, pytest.mark.xdist_group("end_to_end")]
pytest.importorskip("onnxruntime_qnn", reason="the qnn extra is not installed")

WEIGHTS = np.random.default_rng(0).integers(-127, 128, size=(8, 8, 1, 1)) / 1000


def simulated_sqnr(folder, text: str, **options) -> float:
    """Compile for a Hexagon NPU; return the simulator's signal to noise against the compiled graph, in dB."""
    onnx.save(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}'), folder / "model.onnx")
    manifest = api.compile(folder / "model.onnx", "qualcomm/sm8750", folder / "out", CompileOptions(**options))
    assert manifest.placement.npu_fraction == 1.0
    (stage,) = (found for found in manifest.verification if found.name == "compiled")
    level = stage.outputs["y"].sqnr_db
    return np.inf if level is None else level


def convolution(weights: np.ndarray, end: str) -> str:
    return f"""g (float[1,8,8,8] x) => (float[1,8,8,8] y)
    <float[8,8,1,1] w = {{{literal(weights)}}}, float[8] b = {{{", ".join(["1"] * 8)}}},
     float low = {{0}}, float high = {{0.5}}> {{a = Conv(x, w, b) {end}}}"""


def test_a_clip_behind_a_convolution(tmp_path):
    text = convolution(WEIGHTS, "y = Clip(a, low, high)")
    assert simulated_sqnr(tmp_path, text, precision="a16w8", calibration="random") > 60, "21 with room above the bound"


def test_a_clip_in_integers_that_go_further(tmp_path):
    steps = "float s = {0.0001}, uint16 z = {20000}, float low = {0}, float high = {1}"
    text = f"""g (float[1,8,8,8] x) => (float[1,8,8,8] y) <{steps}>
    {{q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) a = Add(d, d)
     aq = QuantizeLinear(a, s, z) ad = DequantizeLinear(aq, s, z) c = Clip(ad, low, high)
     cq = QuantizeLinear(c, s, z) y = DequantizeLinear(cq, s, z)}}"""
    assert simulated_sqnr(tmp_path, text) > 60, "0 as one Clip"


def test_a_channel_that_hardly_any_weight_moves(tmp_path):
    weights = WEIGHTS.copy()
    weights[-1] *= 1e-7
    text = convolution(weights, "y = Relu(a)")
    assert simulated_sqnr(tmp_path, text, precision="a16w8", calibration="random") > 60, "4 with scales that fit"


def test_an_average_whose_padding_is_at_one_end(tmp_path):
    pool = "y = AveragePool<kernel_shape=[3,3], pads=[1,1,0,0]>(x)"
    text = f"g (float[1,8,8,8] x) => (float[1,8,7,7] y) {{{pool}}}"
    assert simulated_sqnr(tmp_path, text, precision="fp16") > 50, "11 as one AveragePool"
