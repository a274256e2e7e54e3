"""What is wrong with encodings, said by tensor name."""

import numpy as np
import onnx_ir as ir
import pytest

from npuopt.quantization import Encoding, Encodings, MinMax, Percentile, calibrate, open_samples
from npuopt.quantization.accuracy.findings import find_faults
from npuopt.quantization.calibration.methods import MovingAverage
from support.rewrites import model_from

NORMAL = [{"x": np.random.default_rng(seed).normal(0, 1, 1000).astype(np.float32)} for seed in range(3)]


def uint8(low, high):
    scale = float(np.float32((high - low) / 255))
    return Encoding(dtype="uint8", scale=scale, zero_point=round(-low / scale))


def faults(text, samples, weights=None, **tensors):
    model = model_from(text)
    for name, array in (weights or {}).items():
        model.graph.initializers[name].const_value = ir.tensor(array)
    uses = tensors.pop("uses", {})
    found = find_faults(model, Encodings(tensors=tensors, uses=uses), samples, tap_bytes=1)
    return {(one.tensor, one.kind): one for one in found}


CHAIN = "(float[1000] x) => (float[1000] y) {h = Neg(x) y = Exp(h)}"


def test_clipped_numbers_are_counted_over_all_samples():
    found = faults(CHAIN, NORMAL, x=uint8(-6, 6), h=uint8(-1, 1))
    assert set(found) == {("h", "clipped")}
    expected = np.mean([np.abs(sample["x"]) > 1 for sample in NORMAL])
    assert found["h", "clipped"].share == pytest.approx(expected, abs=0.01)
    assert str(found["h", "clipped"]).startswith("h: 30.8% of its numbers are clipped to -0.99")


def test_what_is_no_number_counts_for_nothing():
    broken = [{"x": np.where(np.arange(1000) % 10, sample["x"], np.nan).astype(np.float32)} for sample in NORMAL]
    assert faults(CHAIN, broken, h=uint8(-1, 1))["h", "clipped"].share == pytest.approx(0.31, abs=0.02)
    broken[0]["x"][:] = np.inf
    assert not faults(CHAIN, broken, h=uint8(-6, 6))


def test_a_few_clipped_numbers_are_what_fitted_ranges_are_for():
    assert not faults(CHAIN, NORMAL, h=uint8(-3, 3))


def test_graph_inputs_are_looked_at_too():
    assert set(faults(CHAIN, NORMAL, x=uint8(-1, 1))) == {("x", "clipped")}


def test_what_a_reader_cuts_off_anyway_is_no_fault():
    text = "(float[1000] x) => (float[1000] y) {h = Neg(x) y = Relu(h)}"
    assert not faults(text, NORMAL, h=uint8(0, 6))
    assert set(faults(text, NORMAL, h=uint8(0, 1))) == {("h", "clipped")}, "but not what it keeps"
    moved = """(float[1000] x) => (float[1000] y) <int64[1] s = {1000}>
    {h = Neg(x) m = Reshape(h, s) y = Relu(m)}"""
    assert not faults(moved, NORMAL, h=uint8(0, 6), m=uint8(0, 6))
    seen_elsewhere = "(float[1000] x) => (float[1000] y, float[1000] z) {h = Neg(x) y = Relu(h) z = Exp(h)}"
    assert set(faults(seen_elsewhere, NORMAL, h=uint8(0, 6))) == {("h", "clipped")}


def test_a_tensor_that_became_one_number_is_stuck():
    found = faults(CHAIN, NORMAL, h=uint8(-5000, 5000))
    assert set(found) == {("h", "stuck")}
    assert "all 3000 numbers" in found["h", "stuck"].text


WEIGHT = np.array([[1, -1, 1, 1], [1e-4, 1e-4, -1e-4, 0], [0, 0, 0, 0], [1, 2, 3, 4]], np.float32)
PRODUCT = """(float[1,4] x) => (float[1,4] y) <float[4,4] w = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}>
{y = Gemm<transB=1>(x, w)}"""


def channels(*scales):
    return Encoding(dtype="int8", scale=scales, zero_point=0, axis=0)


def test_channels_that_became_zero_are_counted_and_those_that_were_zero_are_not():
    found = faults(PRODUCT, [], {"w": WEIGHT}, w=channels(0.1, 0.1, 0.1, 0.1))
    assert found["w", "dead-channels"].text == "1 of 4 channels became zero"
    assert found["w", "dead-channels"].share == 0.25
    assert not faults(PRODUCT, [], {"w": WEIGHT}, w=channels(0.1, 1e-5, 0.1, 0.1))


def test_the_encoding_of_a_single_use_is_looked_at():
    uses = {"y": {1: channels(0.1, 0.1, 0.1, 10)}}
    found = faults(PRODUCT, [], {"w": WEIGHT}, w=channels(0.1, 1e-5, 0.1, 0.1), uses=uses)
    assert found["w", "dead-channels"].text == "2 of 4 channels became zero"


def test_scales_at_the_edge_of_float32_underflow():
    tiny = float(np.finfo(np.float32).tiny)
    found = faults(PRODUCT, [], w=channels(1.0, tiny, tiny, 1.0))
    assert found["w", "tiny-scale"].text.startswith("its 2 of 4 scales underflow")
    assert not faults(PRODUCT, [], w=channels(1.0, 2 * tiny, 1.0, 1.0))


def normal_samples(tmp_path, model):
    np.savez(tmp_path / "normal.npz", x=np.stack([sample["x"] for sample in NORMAL]))
    return open_samples(tmp_path / "normal.npz", model)


METHODS = (MinMax(), MovingAverage(), Percentile(99.0))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("width", [0.5, 2.0, 6.0, 5000.0])
def test_what_calibration_saw_tells_the_same_as_running_the_samples(tmp_path, method, width):
    model = model_from("(float[1000] x) => (float[1000] y, float[1000] z) {h = Neg(x) y = Relu(h) z = Exp(h)}")
    encodings = Encodings(tensors={name: uint8(-width, width) for name in ("x", "h", "y")})
    seen = calibrate(model, normal_samples(tmp_path, model), method).seen
    by_running = {one.tensor: one for one in find_faults(model, encodings, NORMAL)}
    recalled = {one.tensor: one for one in find_faults(model, encodings, NORMAL, seen=seen)}
    assert {name: one.kind for name, one in recalled.items()} == {name: one.kind for name, one in by_running.items()}
    for name, one in recalled.items():
        assert one.share == pytest.approx(by_running[name].share, abs=0.005)
    assert bool(recalled) == (width != 6.0)


def test_what_calibration_saw_needs_no_samples_where_ranges_hold_all(tmp_path):
    model = model_from(CHAIN)
    seen = calibrate(model, normal_samples(tmp_path, model)).seen
    encodings = Encodings(tensors={"h": uint8(-5000, 5000), "x": uint8(-6, 6)})
    found = find_faults(model, encodings, [], seen=seen)
    assert [(one.tensor, one.kind) for one in found] == [("h", "stuck")]
    assert "all 3000 numbers" in found[0].text
