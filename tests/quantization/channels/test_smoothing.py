"""Factors of channels, chosen by what integers lose on data."""

import numpy as np
import pytest

from npuopt.graph import constant
from npuopt.passes.quantize.move_channel_scales import MoveChannelScales
from npuopt.quantization.channels.channel_statistics import channel_statistics
from npuopt.quantization.channels.equalization import equalizing_factors
from npuopt.quantization.channels.joints import joints
from npuopt.quantization.channels.smoothing import FARTHEST
from npuopt.quantization.steps.channels import EqualizeLayers, ScaleWeights, SmoothActivations
from npuopt.target import parse_target
from support.stepping import literal, work_on


def gated(weight, scale=None):
    """Return a normalization ahead of a product, as text."""
    width, outputs = weight.shape
    scale = np.ones(width) if scale is None else scale
    return f"""(float[4,{width}] x) => (float[4,{outputs}] y) <float[{width}] g = {{{literal(scale)}}},
        float[{width},{outputs}] w = {{{literal(weight)}}}> {{h = RMSNormalization<axis=-1>(x, g) y = MatMul(h, w)}}"""


WEIGHT = np.random.default_rng(0).normal(0, 1, (8, 16))


def test_a_channel_of_wide_range_is_divided(tmp_path):
    loud = np.where(np.arange(8) == 3, 30.0, 1.0)
    work = work_on(
        gated(WEIGHT, loud), tmp_path, x=np.random.default_rng(1).normal(0, 1, (16, 4, 8)).astype(np.float32)
    )
    (rewrite,) = SmoothActivations().rewrites(work)
    factors = np.array(rewrite.options["scales"]["h"])
    assert factors.argmax() == 3
    assert factors[3] > 4 * np.delete(factors, 3).max()
    assert np.log(factors).mean() == pytest.approx(0, abs=1e-6)
    assert MoveChannelScales(**rewrite.options)(work.model).changed


def test_channels_that_are_alike_stay_as_they_are(tmp_path):
    work = work_on(
        gated(np.sign(WEIGHT)),
        tmp_path,
        x=np.sign(np.random.default_rng(1).normal(0, 1, (16, 4, 8))).astype(np.float32),
    )
    assert list(SmoothActivations().rewrites(work)) == []


def test_without_data_nothing_is_smoothed(tmp_path):
    work = work_on(gated(WEIGHT), tmp_path, x=np.ones((1, 4, 8), np.float32))
    work.samples = None
    assert list(SmoothActivations().rewrites(work)) == []


def test_channels_at_rest_get_no_factors_out_of_proportion(tmp_path):
    quiet = np.where(np.arange(8) == 3, 0.0, [1, 2, 3, 4, 5, 6, 7, 80])
    work = work_on(
        gated(WEIGHT, quiet), tmp_path, x=np.random.default_rng(1).normal(0, 1, (16, 4, 8)).astype(np.float32)
    )
    for rewrite in SmoothActivations(alphas=(1.0,)).rewrites(work):
        factors = np.array(rewrite.options["scales"]["h"])
        assert factors.min() >= 1 / FARTHEST
        assert factors.max() <= FARTHEST


GATE = """(float[4,8] x, float[4,8] s) => (float[4,16] y) <float[8,8] u = {%s}, float[8,16] w = {%s}>
    {a = MatMul(x, u) m = Mul(a, s) y = MatMul(m, w)}"""


@pytest.mark.parametrize(("scheme", "count"), [("a8w8", 0), ("a16w8", 1)])
def test_what_a_gate_brings_in_is_not_left_to_a_result_of_8_bits(tmp_path, scheme, count):
    rng = np.random.default_rng(1)
    loud = np.where(np.arange(8) == 3, 30.0, 1.0)
    arrays = {
        "x": rng.normal(0, 1, (16, 4, 8)).astype(np.float32),
        "s": (rng.normal(0, 1, (16, 4, 8)) * loud).astype(np.float32),
    }
    text = GATE % (literal(rng.normal(0, 1, (8, 8))), literal(WEIGHT))
    work = work_on(text, tmp_path, scheme, **arrays)
    assert len(list(SmoothActivations().rewrites(work))) == count


def test_statistics_are_of_each_feature_over_all_samples(tmp_path):
    x = np.random.default_rng(1).normal(0, 1, (8, 4, 8)).astype(np.float32)
    work = work_on(gated(WEIGHT), tmp_path, x=x)
    calls = []
    ((_, (seen,)),) = channel_statistics(
        work.model, joints(work.model), work.samples, progress=lambda *call: calls.append(call), threads=1
    )
    h = (x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)).reshape(-1, 8)
    np.testing.assert_allclose(seen.low, np.minimum(h.min(0), 0), rtol=1e-4)
    np.testing.assert_allclose(seen.high, np.maximum(h.max(0), 0), rtol=1e-4)
    np.testing.assert_allclose(seen.size, np.abs(h).mean(0), rtol=1e-4)
    assert seen.rows.shape == (32, 8), "every position of so few samples"
    assert calls[-1] == (8, 8)
    cut = list(channel_statistics(work.model, joints(work.model), work.samples, tap_bytes=1, threads=1))
    np.testing.assert_array_equal(cut[0][1][0].low, seen.low)


def test_layers_are_equal_on_both_sides_afterwards(tmp_path):
    rng = np.random.default_rng(0)
    u, v, w = rng.normal(0, 1, (6, 1, 1, 1)), rng.normal(0, 1, (6, 1, 3, 3)), rng.normal(0, 1, (2, 6, 1, 1))
    u[2] *= 100
    text = f"""(float[1,1,5,5] x) => (float[1,2,5,5] y) <float[6,1,1,1] u = {{{literal(u)}}},
        float[6,1,3,3] v = {{{literal(v)}}}, float[2,6,1,1] w = {{{literal(w)}}}>
        {{a = Conv(x, u) b = Relu(a) c = Conv<group=6, pads=[1,1,1,1]>(b, v) d = Relu(c) y = Conv(d, w)}}"""
    work = work_on(text, tmp_path, x=np.zeros((1, 1, 5, 5), np.float32).reshape(1, 1, 1, 5, 5))
    (rewrite,) = EqualizeLayers(rounds=30).rewrites(work)
    MoveChannelScales(**rewrite.options)(work.model)
    first, second, third = (constant(node.inputs[1]) for node in work.model.graph if node.op_type == "Conv")
    one, two, three = np.abs(first).max((1, 2, 3)), np.abs(second).max((1, 2, 3)), np.abs(third).max((0, 2, 3))
    np.testing.assert_allclose(one / two, (one / two).mean(), rtol=0.05)
    np.testing.assert_allclose(two / three, (two / three).mean(), rtol=0.05)
    found = [joint for joint in joints(work.model) if joint.is_linear]
    assert equalizing_factors(found, 1) == {} or max(map(max, equalizing_factors(found, 1).values())) < 1.05


CHIP = """
name: test/weights-only
title: A chip for tests
delegate: {road: ort}
schemes: {w4: {activation: float32, weight: int4, weight_axis: block, weight_block: 8}}
ops: {MatMul: {schemes: [w4], quantization: {weights: [1]}}, RMSNormalization: {schemes: [w4]}}
"""


def test_weights_that_large_activations_meet_are_multiplied(tmp_path):
    loud = np.where(np.arange(8) == 3, 30.0, 1.0)
    x = np.random.default_rng(1).normal(0, 1, (16, 4, 8)).astype(np.float32)
    work = work_on(gated(WEIGHT, loud), tmp_path, "w4", chip=parse_target(CHIP), x=x)
    (rewrite,) = ScaleWeights().rewrites(work)
    factors = np.array(rewrite.options["scales"]["h"])
    assert factors.argmax() == 3
    assert list(SmoothActivations().rewrites(work)) == [], "no activation is held as integers"
    work.samples = None
    assert list(ScaleWeights().rewrites(work)) == []


def test_weights_beside_integer_activations_are_not_scaled_by_it(tmp_path):
    work = work_on(gated(WEIGHT), tmp_path, x=np.ones((1, 4, 8), np.float32))
    assert list(ScaleWeights().rewrites(work)) == []
