"""Weights that are rounded to suit the data: the layer's result counts, not each weight."""

import numpy as np
import pytest

from npuopt.graph import to_text
from npuopt.quantization import Encoding, Encodings, open_samples
from npuopt.quantization.arithmetic import dequantize, quantize
from npuopt.quantization.calibration.taps import tapped_session
from npuopt.quantization.rounding.round_weights import (
    LEAST_SQNR_DB,
    held_as_rounded,
    round_weights,
    too_noisy,
    with_corrections,
)
from support.rewrites import model_from


def held(dtype="int8", scale=0.1, axis=None):
    return Encoding(dtype=dtype, scale=scale, zero_point=0, axis=axis)


def literal(name, array):
    shape = ",".join(map(str, array.shape))
    return f"float[{shape}] {name} = {{{','.join(map(repr, array.ravel().tolist()))}}}"


def correlated(rng, samples, positions, width, mean=0.0):
    """Return features of which a few directions hold nearly all the variance, as activations do."""
    mix = np.random.default_rng(7).normal(0, 1, (3, width))
    noise = rng.normal(0, 0.1, (samples, positions, width))
    return (rng.normal(0, 1, (samples, positions, 3)) @ mix + noise + mean).astype(np.float32)


def samples_of(folder, model, **arrays):
    np.savez(folder / "samples.npz", **arrays)
    return open_samples(folder / "samples.npz", model)


def product(seed=0, width=32, outputs=8):
    weight = np.random.default_rng(seed).normal(0, 1, (width, outputs)).astype(np.float32)
    model = model_from(f"(float[4,{width}] x) => (float[4,{outputs}] y) <{literal('w', weight)}> {{y = MatMul(x, w)}}")
    return model, weight


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_errors_cancel_on_features_that_go_together(tmp_path, dtype):
    model, weight = product()
    encoding = held(dtype, tuple((np.abs(weight).max(axis=0) / (127 if dtype == "int8" else 7)).tolist()), axis=1)
    before = to_text(model)
    x = correlated(np.random.default_rng(1), 16, 4, 32)
    calls = []
    rounded = round_weights(
        model,
        Encodings(tensors={"w": encoding}),
        samples_of(tmp_path, model, x=x),
        progress=lambda *call: calls.append(call),
    )["y"]
    assert to_text(model) == before, "the model comes back as it was"
    assert calls[-1] == (16, 16)
    assert rounded.integers.dtype == quantize(weight, encoding).dtype
    unseen = correlated(np.random.default_rng(2), 64, 4, 32)
    errors = [dequantize(way, encoding) - weight for way in (rounded.integers, quantize(weight, encoding))]
    noise = [float(((unseen @ error) ** 2).mean()) for error in errors]
    assert noise[0] < noise[1] / 4, "on data that it did not see"
    assert rounded.sqnr_db == pytest.approx(10 * np.log10(((x @ weight) ** 2).mean() / noise[0]), abs=2.5)
    assert np.abs(errors[0]).max() > np.abs(errors[1]).max(), "though single weights are farther off"


def test_weights_keep_to_the_largest_integer(tmp_path):
    model, weight = product()
    encoding = Encoding(dtype="int8", scale=float(np.abs(weight).max() / 100), zero_point=0, largest=60)
    x = correlated(np.random.default_rng(1), 16, 4, 32)
    rounded = round_weights(model, Encodings(tensors={"w": encoding}), samples_of(tmp_path, model, x=x))["y"]
    assert (rounded.integers.min(), rounded.integers.max()) == (-60, 60)


def test_a_corrected_bias_takes_the_mean_and_the_rest_cancels(tmp_path):
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (4, 8, 1, 1)).astype(np.float32)
    model = model_from(
        f"""(float[1,8,4,1] x) => (float[1,4,4,1] y) <{literal("w", weight)}, {literal("b", np.zeros(4))}>
        {{y = Conv(x, w, b)}}"""
    )
    encodings = Encodings(tensors={"w": held(scale=0.2)}, corrections={"y": {2: (0.0,) * 4}})
    x = correlated(rng, 32, 4, 8, mean=np.arange(8)).transpose(0, 2, 1)[:, None, :, :, None]
    rounded = round_weights(model, encodings, samples_of(tmp_path, model, x=x))
    error = (dequantize(rounded["y"].integers, held(scale=0.2)) - weight)[:, :, 0, 0]
    moved = np.einsum("oc,snchw->snohw", error, x)
    np.testing.assert_allclose(rounded["y"].correction, -moved.mean(axis=(0, 1, 3, 4)), rtol=1e-3, atol=1e-4)
    assert with_corrections(encodings, rounded).corrections == {"y": {2: rounded["y"].correction}}


def test_a_large_model_is_rounded_in_portions(tmp_path):
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 1, (6, 6)).astype(np.float32) for name in "uvw"}
    model = model_from(
        f"""(float[4,6] x) => (float[4,6] a, float[4,6] b, float[4,6] y)
        <{", ".join(literal(name, array) for name, array in weights.items())}>
        {{a = MatMul(x, u) b = MatMul(x, v) h = Relu(a) y = MatMul(h, w)}}"""
    )
    encodings = Encodings(tensors=dict.fromkeys(weights, held(scale=0.05)))
    samples = samples_of(tmp_path, model, x=correlated(rng, 5, 4, 6))
    calls = []
    whole = round_weights(model, encodings, samples)
    for limits in ({"moment_bytes": 1}, {"tap_bytes": 1}):
        cut = round_weights(model, encodings, samples, progress=lambda *call: calls.append(call), **limits)
        assert calls[-1] == (10, 10), "two products share what they read"
        assert {name: layer.integers.tolist() for name, layer in cut.items()} == {
            name: layer.integers.tolist() for name, layer in whole.items()
        }


def test_rows_are_rounded_some_at_a_time(tmp_path, monkeypatch):
    model, weight = product()
    samples = samples_of(tmp_path, model, x=correlated(np.random.default_rng(1), 16, 4, 32))
    encodings = Encodings(tensors={"w": held(scale=tuple(np.abs(weight).max(axis=0) / 127), axis=1)})
    whole = round_weights(model, encodings, samples)["y"]
    monkeypatch.setattr("npuopt.quantization.rounding.cancellation.ROUNDED_AT_ONCE", 3 * 32)
    monkeypatch.setattr("npuopt.quantization.rounding.cancellation.BLOCK", 5)
    cut = round_weights(model, encodings, samples)["y"]
    np.testing.assert_array_equal(cut.integers, whole.integers)
    assert cut.sqnr_db == pytest.approx(whole.sqnr_db)


@pytest.mark.parametrize(("op", "sees"), [("Abs", 0.0), ("Log", -np.inf), ("Acosh", np.nan)])
def test_features_that_say_nothing_leave_the_nearest(tmp_path, op, sees):
    model = model_from(
        f"(float[1,2] x) => (float[1,2] y) <float[2,2] w = {{1,2,3,4}}> {{h = {op}(x) y = MatMul(h, w)}}"
    )
    samples = samples_of(tmp_path, model, x=np.zeros((4, 1, 2), np.float32))
    seen = tapped_session(model, [next(iter(model.graph)).outputs[0]], optimize=False, threads=1)
    np.testing.assert_equal(seen.run({"x": np.zeros((1, 2), np.float32)})["h"], np.full((1, 2), sees, np.float32))
    assert round_weights(model, Encodings(tensors={"w": held()}), samples) == {}


def test_a_feature_that_never_varies_does_no_harm(tmp_path):
    model, weight = product(width=6)
    x = correlated(np.random.default_rng(1), 8, 4, 6)
    x[..., 2] = 0
    encodings = Encodings(tensors={"w": held(scale=0.05)})
    rounded = round_weights(model, encodings, samples_of(tmp_path, model, x=x))["y"]
    assert np.abs(rounded.integers * 0.05 - weight)[2].max() <= 0.026, "nothing moves it: it is rounded to the nearest"
    assert np.isfinite(rounded.sqnr_db)


@pytest.mark.parametrize(("width", "is_enough"), [(4, True), (5, False)])
def test_a_single_sample_is_enough_when_it_has_as_many_positions_as_features(tmp_path, width, is_enough):
    model, weight = product(width=width)
    samples = samples_of(tmp_path, model, x=correlated(np.random.default_rng(1), 1, 4, width))
    rounded = round_weights(model, Encodings(tensors={"w": held(scale=0.05)}), samples)
    assert ("y" in rounded) == is_enough
    for layer in rounded.values():
        assert np.abs(layer.integers.astype(np.float64) * 0.05 - weight).max() < 0.25, "no weight is moved far"


def test_moments_without_an_inverse_leave_the_nearest(tmp_path, monkeypatch):
    def fail(_):
        raise np.linalg.LinAlgError("singular")

    model, _ = product()
    samples = samples_of(tmp_path, model, x=correlated(np.random.default_rng(1), 2, 4, 32))
    monkeypatch.setattr("npuopt.quantization.rounding.cancellation.np.linalg.cholesky", fail)
    assert round_weights(model, Encodings(tensors={"w": held()}), samples) == {}


@pytest.mark.parametrize(
    ("calls", "most"),
    [("y = MatMul(x, w) z = MatMul(y, w)", 4096), ("y = MatMul(x, w) z = Neg(y)", 1)],
)
def test_shared_and_very_wide_weights_are_left_to_the_nearest(tmp_path, calls, most):
    model = model_from(f"(float[1,2] x) => (float[1,2] z) <float[2,2] w = {{1,2,3,4}}> {{{calls}}}")
    samples = samples_of(tmp_path, model, x=np.ones((2, 1, 2), np.float32))
    assert round_weights(model, Encodings(tensors={"w": held()}), samples, most_features=most) == {}


def test_noisy_layers_are_named_and_drop_out_when_they_are_held_otherwise(tmp_path):
    rng = np.random.default_rng(0)
    fine, coarse = (rng.normal(0, 1, (6, 6)).astype(np.float32) for _ in range(2))
    model = model_from(
        f"""(float[4,6] x) => (float[4,6] a, float[4,6] b) <{literal("v", fine)}, {literal("w", coarse)}>
        {{a = MatMul(x, v) b = MatMul(x, w)}}"""
    )
    samples = samples_of(tmp_path, model, x=rng.normal(0, 1, (8, 4, 6)).astype(np.float32))
    rounded = round_weights(model, Encodings(tensors={"v": held(scale=0.001), "w": held(scale=0.2)}), samples)
    assert rounded["a"].sqnr_db < rounded["b"].sqnr_db, "whose range cuts off most of the weights"
    rounded = round_weights(model, Encodings(tensors={"v": held(scale=0.03), "w": held("int4", 0.4)}), samples)
    assert rounded["b"].sqnr_db < LEAST_SQNR_DB
    assert too_noisy(rounded) == ({"a"} if rounded["a"].sqnr_db < LEAST_SQNR_DB else set()), "int4 was asked for"
    other = Encodings(tensors={"v": held("int16", 0.0001), "w": held("int4", 0.4)})
    assert set(held_as_rounded(rounded, other)) == {"b"}
