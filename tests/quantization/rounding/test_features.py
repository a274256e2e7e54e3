"""Layers as matrix products: their features times their rows is what ONNX Runtime computes."""

import numpy as np
import pytest

from npuopt.graph.execution import Session
from npuopt.quantization import Encoding
from npuopt.quantization.rounding.features import AT_ONCE, MOST_POSITIONS, Layer, Moments
from support.rewrites import model_from

HELD = Encoding(dtype="int8", scale=(1.0,), zero_point=(0,))


def layer_of(text, encoding=HELD):
    model = model_from(text)
    return model, Layer.of(next(iter(model.graph)), encoding)


@pytest.mark.parametrize(
    ("data", "made", "kernel", "attributes"),
    [
        ("2,3,5,6", "2,4,5,6", "4,3,1,1", ""),
        ("1,3,5,6", "1,4,5,6", "4,3,3,3", "<pads=[1,1,1,1]>"),
        ("1,3,7,9", "1,4,4,3", "4,3,2,3", "<pads=[1,0,0,2], strides=[2,3]>"),
        ("1,3,9,9", "1,4,6,3", "4,3,2,3", "<dilations=[3,2], strides=[1,2]>"),
        ("1,3,8", "1,4,4", "4,3,3", "<strides=[2], pads=[1,1]>"),
        ("1,2,3,4,5", "1,4,2,3,4", "4,2,2,2,2", ""),
    ],
)
def test_windows_of_a_convolution_are_those_of_the_runtime(data, made, kernel, attributes):
    rng = np.random.default_rng(0)
    x, w = (rng.normal(0, 1, tuple(map(int, shape.split(",")))).astype(np.float32) for shape in (data, kernel))
    numbers = ",".join(map(repr, w.ravel().tolist()))
    model, layer = layer_of(
        f"(float[{data}] x) => (float[{made}] y) <float[{kernel}] w = {{{numbers}}}> {{y = Conv{attributes}(x, w)}}"
    )
    wanted = Session(model).run({"x": x})["y"]
    computed = layer.features(x) @ layer.rows().T
    assert layer.width == layer.rows().shape[1]
    np.testing.assert_allclose(computed, np.moveaxis(wanted, 1, -1).reshape(computed.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("call", ["MatMul(x, w)", "Gemm(x, w)", "Gemm<transB=1>(x, v)", "Gemm<transB=1>(x, v, b)"])
def test_rows_of_a_product_are_its_outputs(call):
    model, layer = layer_of(
        f"""(float[5,2] x) => (float[5,3] y) <float[2,3] w = {{1,2,3,4,5,6}}, float[3,2] v = {{1,2,3,4,5,6}},
        float[3] b = {{0,0,0}}> {{y = {call}}}"""
    )
    x = np.random.default_rng(0).normal(0, 1, (5, 2)).astype(np.float32)
    assert layer.width == 2
    np.testing.assert_allclose(layer.features(x) @ layer.rows().T, Session(model).run({"x": x})["y"], rtol=1e-5)
    np.testing.assert_array_equal(layer.like_weight(layer.rows()).shape, tuple(layer.weight.shape))


@pytest.mark.parametrize(
    ("call", "encoding"),
    [
        ("Conv<group=2>(x, w)", HELD),
        ('Conv<auto_pad="SAME_UPPER">(x, v)', HELD),
        ("Conv(x, r)", HELD),
        ("MatMul(x, m)", HELD),
        ("Neg(x)", HELD),
        ("Conv(v, v)", HELD),
        ("Conv(x, v)", None),
        ("Conv(x, v)", Encoding(dtype="uint8", scale=(1.0,), zero_point=(3,))),
        ("Conv(x, v)", Encoding(dtype="int16", scale=(1.0,), zero_point=(0,))),
        ("Conv(x, v)", Encoding(dtype="int8", scale=(1.0, 1.0), zero_point=(0,), axis=1)),
    ],
)
def test_what_is_no_such_product_is_no_layer(call, encoding):
    text = f"""(float[1,2,1,1] x, float[2,2,1,1] r) => (float[1,2,1,1] y)
    <float[2,1,1,1] w = {{1,2}}, float[2,2,1,1] v = {{1,2,3,4}}, float[1,2,1,1] m = {{1,2}}> {{y = {call}}}"""
    assert layer_of(text, encoding)[1] is None


def test_few_positions_stand_for_all_of_an_image():
    _, layer = layer_of("(float[1,1,64,128] x) => (float[1,1,64,128] y) <float[1,1,1,1] w = {1}> {y = Conv(x, w)}")
    rows, columns = np.meshgrid(np.arange(64), np.arange(128), indexing="ij")
    seen = [layer.features(axis.astype(np.float32)[None, None])[:, 0] for axis in (rows, columns)]
    places = set(zip(*(axis.tolist() for axis in seen), strict=True))
    assert len(places) == MOST_POSITIONS, "all different"
    assert {row for row, _ in places} == set(range(64))
    assert len({column for _, column in places}) > 100, "in no step with the rows"


@pytest.mark.parametrize("cuts", [[5], [1, 1, 3], [AT_ONCE + 7, 5, 2]])
def test_moments_are_those_of_all_features_at_once(cuts):
    rng = np.random.default_rng(0)
    parts = [rng.normal(3, 1, (count, 4)).astype(np.float32) for count in cuts]
    moments, everything = Moments(4), np.concatenate(parts).astype(np.float64)
    for part in parts:
        moments.add(part)
    assert moments.are_known
    np.testing.assert_allclose(moments.mean, everything.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(moments.second(centred=False), everything.T @ everything / len(everything), rtol=1e-5)
    np.testing.assert_allclose(moments.second(centred=True), np.cov(everything.T, bias=True), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("last", [[], [[np.inf, 1]], [[0, np.nan]]])
def test_moments_of_too_little_or_of_no_numbers_are_not_known(last):
    moments = Moments(2)
    for position in ([[1, 2]], last):
        moments.add(np.array(position, np.float32).reshape(-1, 2))
    assert not moments.are_known
    moments.add(np.ones((2, 2), np.float32))
    assert moments.are_known == (not last)
