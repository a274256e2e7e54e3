"""A model with its activations held as integers is what ONNX Runtime makes of the quantized model, weights aside."""

import numpy as np
import pytest

from npuopt.graph import Session
from npuopt.passes.quantize.insert_quantize_dequantize import InsertQuantizeDequantize
from npuopt.quantization.accuracy.held_activations import OutputNoise, hold_activations
from npuopt.quantization.encodings import Encodings, per_tensor
from support.rewrites import model_from

TEXT = """(float[3,4] x) => (float[3,2] y) <float[4,2] w = {0.3,-1,0.7,0.1,-0.2,2,0.5,-0.6}>
{ r = Relu(x) s = Neg(r) p = MatMul(s, w) y = Relu(p) }"""
ENCODINGS = Encodings(
    tensors={
        "x": per_tensor("uint8", 0.02, 128),
        "r": per_tensor("uint16", 0.0001, 0),
        "s": per_tensor("int8", 0.05, 100),
        "p": per_tensor("int8", 0.05, 3),
    },
    uses={"s": {0: per_tensor("uint8", 0.1, 0)}},
)
X = [{"x": np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)} for seed in range(4)]


def test_activations_are_read_as_in_the_quantized_model_conversions_included():
    model = model_from(TEXT)
    held = Session(hold_activations(model, ENCODINGS))
    quantized = model.clone()
    InsertQuantizeDequantize(encodings=ENCODINGS)(quantized)
    whole = Session(quantized)
    for sample in X:
        np.testing.assert_allclose(held.run(sample)["y"], whole.run(sample)["y"], atol=1e-6)


def test_the_noise_at_the_outputs_is_that_of_all_roundings_together():
    model = model_from(TEXT)
    exact, held = Session(model), Session(hold_activations(model, ENCODINGS))
    wanted, got = (np.stack([one.run(sample)["y"] for sample in X]) for one in (exact, held))
    ratio = 10 * np.log10((wanted**2).sum() / ((got - wanted) ** 2).sum())
    assert OutputNoise(model, X, threads=1).sqnr_db(ENCODINGS) == pytest.approx(ratio, abs=1e-3)


def test_the_float_model_runs_again_where_its_outputs_are_not_kept():
    kept, run_again = (OutputNoise(model_from(TEXT), X, threads=1, kept_bytes=size) for size in (2**20, 24))
    for _ in range(2):
        assert kept.sqnr_db(ENCODINGS) == run_again.sqnr_db(ENCODINGS)
    assert kept.sqnr_db(ENCODINGS, count=2) == OutputNoise(model_from(TEXT), X[:2], threads=1).sqnr_db(ENCODINGS)


def test_without_encodings_there_is_no_noise():
    assert OutputNoise(model_from(TEXT), X, threads=1).sqnr_db(Encodings(tensors={})) == np.inf


def test_outputs_that_data_sizes_are_measured_by_what_they_are_computed_from():
    model = model_from(
        "(float[3,4] x) => (float[N] y) <int64[1] flat = {-1}> "
        "{r = Relu(x) f = Reshape(r, flat) c = Cast<to = 9>(f) y = Compress(f, c)}"
    )
    coarse = Encodings(tensors={"r": per_tensor("uint8", 0.5, 0)})  # small numbers become zero and are not chosen
    floats = [np.maximum(sample["x"], 0) for sample in X]
    noise = sum(float(((np.round(one / 0.5) * 0.5 - one) ** 2).sum()) for one in floats)
    ratio = 10 * np.log10(sum(float((one**2).sum()) for one in floats) / noise)
    assert OutputNoise(model, X, threads=1).sqnr_db(coarse) == pytest.approx(ratio, abs=1e-3)
