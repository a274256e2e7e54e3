"""How weights and biases are held."""

import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.quantization import Encoding, calibrate, encodings_for, open_samples
from npuopt.quantization.arithmetic import affine, dequantize, quantize
from npuopt.quantization.assignment.weights import WeightFormat, fitted_scales, weight_encoding
from npuopt.target import parse_target
from support.assigning import assign
from support.integer_chip import integer_chip
from support.rewrites import model_from

CONV = """(float[1,2,4,4] x) => (float[1,2,4,4] y)
<float[2,2,1,1] w = {1, -2, 0.5, 0.25}, float[2] b = {3, -3}> {y = Conv(x, w, b)}"""


def test_weights_have_a_scale_for_each_channel_and_biases_the_product():
    tensors = assign(CONV, x=(0, 2.55)).tensors
    assert (tensors["w"].dtype, tensors["w"].axis) == ("int8", 0)
    np.testing.assert_allclose(tensors["w"].scale, [2 / 127, 0.5 / 127], rtol=1e-6)
    assert tensors["w"].zero_point == (0,)
    assert (tensors["b"].dtype, tensors["b"].axis, tensors["b"].zero_point) == ("int32", 0, (0,))
    np.testing.assert_allclose(tensors["b"].scale, [0.01 * 2 / 127, 0.01 * 0.5 / 127], rtol=1e-6)


def test_a_bias_too_large_for_tiny_weights_widens_their_scale():
    tensors = assign(CONV, "a16w8", weights={"w": [[[[1e-9]], [[0]]], [[[1]], [[0]]]], "b": [100, 1]}).tensors
    largest = 100 / tensors["b"].scale[0]
    assert 2**29 < largest <= 2**30 * 1.000001, "the bias uses its integers and leaves room to accumulate"
    assert tensors["w"].scale[1] == np.float32(1 / 127), "the other channel keeps its own"


def test_scales_leave_a_kernel_no_factor_to_round():
    """With 15 bits of data scale x weight scale / output scale it is exact; the bias follows the weight."""
    chip = parse_target(
        """
name: test/factors
title: A chip that holds factors of products in 15 bits
delegate: {road: ort}
schemes:
  a16w8: {activation: int16, activation_symmetric: true, weight: int8, weight_axis: channel, bias: int32,
          factor_bits: 15}
ops:
  Conv: {schemes: [a16w8], quantization: {weights: [1], bias: 2}}
"""
    )
    tensors = assign(CONV, "a16w8", chip=chip, x=(-1.7, 3), y=(-13, 6)).tensors
    covering = np.array([2 / 127, 0.5 / 127])
    scales = np.array(tensors["w"].scale)
    assert ((scales > covering) & (scales < covering * (1 + 2**-14))).all()
    mantissas, _ = np.frexp(scales * tensors["x"].scale[0] / tensors["y"].scale[0])
    np.testing.assert_allclose(mantissas * 2**15, np.rint(mantissas * 2**15), atol=2**-7)
    np.testing.assert_allclose(tensors["b"].scale, scales * tensors["x"].scale[0], rtol=1e-6)


def test_scales_are_no_smaller_than_the_chip_computes_right_with():
    """The second channel's weights move its output by less than a thousandth of a step; its bias is what counts."""
    chip = parse_target(
        """
name: test/least-factor
title: A chip that computes sums wrong whose factor is small
delegate: {road: ort}
schemes:
  a16w8: {activation: uint16, weight: int8, weight_axis: channel, bias: int32, least_factor: 0.00001}
ops:
  Conv: {schemes: [a16w8], quantization: {weights: [1], bias: 2}}
"""
    )
    text = """(float[1,1,2,2] x) => (float[1,2,2,2] y) <float[2,1,1,1] w = {2, 1e-8}, float[2] b = {1, -1}>
    {y = Conv(x, w, b)}"""
    tensors = assign(text, "a16w8", chip=chip, x=(-1, 3), y=(-4, 4)).tensors
    factors = np.array(tensors["w"].scale) * tensors["x"].scale[0] / tensors["y"].scale[0]
    np.testing.assert_allclose(factors[1], 1e-5, rtol=1e-6)
    assert tensors["w"].scale[0] == np.float32(2 / 127), "the other channel keeps its own"
    np.testing.assert_allclose(tensors["b"].scale, np.array(tensors["w"].scale) * tensors["x"].scale[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "axis", "size"),
    [
        ("y = MatMul(x, w)", 1, 3),
        ("y = Gemm(x, w)", 1, 3),
        ("y = Gemm<transB=1>(x, v)", 0, 3),
    ],
)
def test_matrices_have_a_scale_for_each_output_column(call, axis, size):
    text = (
        f"(float[2,2] x) => (float[2,3] y) <float[2,3] w = {{1,2,3,4,5,6}}, float[3,2] v = {{1,2,3,4,5,6}}> {{{call}}}"
    )
    tensors = assign(text).tensors
    found = tensors.get("w") or tensors["v"]
    assert (found.axis, len(found.scale)) == (axis, size)


def test_transposed_convolutions_have_channels_only_without_groups():
    text = """(float[1,2,4,4] x) => (float[1,{out},4,4] y) <float[2,1,1,1] w = {{1, 2}}>
    {{y = ConvTranspose<group={g}>(x, w)}}"""
    assert assign(text.format(out=1, g=1)).tensors["w"].axis == 1
    assert assign(text.format(out=2, g=2)).tensors["w"].axis is None


def test_normalization_weights_are_unsigned_where_the_chip_says_so():
    text = """(float[2,4] x) => (float[2,4] y) <float[4] g = {0.5, 1, 1.5, 2}, float[4] b = {0, 1, 0, -1}>
    {y = LayerNormalization<axis=-1>(x, g, b)}"""
    tensors = assign(text).tensors
    assert (tensors["g"].dtype, tensors["g"].axis) == ("uint8", None)
    assert (tensors["b"].dtype, tensors["b"].axis) == ("int32", None)
    assert tensors["b"].scale[0] == pytest.approx(tensors["x"].scale[0] * tensors["g"].scale[0], rel=1e-6)


def test_other_constants_are_held_as_activations():
    text = "(float[2] x) => (float[2] y) <float c = {0.125}> {y = Mul(x, c)}"
    held = assign(text, "a16w8").tensors["c"]
    assert held.dtype == "uint16"
    assert held.range[1] == pytest.approx(0.125, rel=1e-6)


def test_weights_that_are_no_numbers_are_named():
    with pytest.raises(InputError, match="w: the constant holds NaN"):
        assign(CONV, weights={"w": np.full((2, 2, 1, 1), np.nan)})


DEPTHWISE = """(float[1,2,4,4] x) => (float[1,2,4,4] y)
<float[2,1,1,1] w = {1, -2}, float[2] b = {3, -3}> {y = Conv<group=2>(x, w, b)}"""


def test_depthwise_filters_take_16_bits_beside_16_bit_activations():
    assert assign(DEPTHWISE, "a8w8").tensors["w"].dtype == "int8"
    held = assign(DEPTHWISE, "a16w8").tensors["w"]
    assert (held.dtype, held.axis) == ("int16", None)
    assert assign(CONV, "a16w8").tensors["w"].dtype == "int8", "other convolutions have too many weights"


def test_weights_that_are_to_be_wide_are_so_where_the_chip_has_16_bits():
    text = """(float[1,2,4,4] x) => (float[1,2,4,1] z)
    <float[2,2,1,1] w = {1,-2,3,4}, float[2] b = {1,2}, float[4,1] v = {1,2,3,4}>
    {y = Conv(x, w, b) z = MatMul(y, v)}"""
    narrow = assign(text, "a16w8").tensors
    wide = assign(text, "a16w8", wide=("y", "z")).tensors
    assert (narrow["w"].dtype, wide["w"].dtype, wide["w"].axis) == ("int8", "int16", None)
    assert wide["b"].scale[0] == pytest.approx(wide["x"].scale[0] * wide["w"].scale[0]), "the bias follows"
    assert narrow["v"] == wide["v"], "the chip has no 16-bit weights for this op"
    assert assign(text, "a8w8", wide=("y",)).tensors["w"].dtype == "int8", "nor beside 8-bit activations"


def test_cutting_off_a_rare_large_weight_pays_where_there_are_many():
    rng = np.random.default_rng(0)
    many, few = rng.normal(0, 1, (1, 4096)), rng.normal(0, 1, (1, 9))
    many[0, 0] = few[0, 0] = 6
    covering, fitted = 6 / 127, float(fitted_scales(many, "int8")[0])
    assert fitted < covering * 0.99
    assert _error(many, fitted) < _error(many, covering)
    assert fitted_scales(few, "int8")[0] == pytest.approx(covering)
    assert fitted_scales(many, "int16")[0] == pytest.approx(6 / 32767)


def _error(array, scale):
    held = Encoding(dtype="int8", scale=scale, zero_point=0)
    return float(((dequantize(quantize(array, held), held) - array) ** 2).sum())


@pytest.mark.parametrize("group", [1, 2])
def test_biases_make_up_for_what_rounding_does_to_the_mean(tmp_path, group):
    rng = np.random.default_rng(group)
    weight = rng.normal(0, 1, (4, 4 // group, 3, 3))
    numbers = ",".join(map(str, weight.ravel()))
    model = model_from(
        f"""(float[1,4,6,6] x) => (float[1,4,4,4] y)
        <float[4,{4 // group},3,3] w = {{{numbers}}}, float[4] b = {{1, 2, 3, 4}}>
        {{y = Conv<group={group}>(x, w, b)}}"""
    )
    x = (rng.normal(0, 0.1, (8, 1, 4, 6, 6)) + np.array([5, -3, 1, 0]).reshape(4, 1, 1)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    samples = open_samples(tmp_path / "x.npz", model)
    encodings = encodings_for(model, integer_chip(), "a8w8", calibrate(model, samples))
    (correction,) = encodings.corrections["y"].values()
    rounded = dequantize(quantize(weight, encodings.tensors["w"]), encodings.tensors["w"])
    flat = np.moveaxis(np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(3, 4)), 2, -1)
    windows = flat.reshape(-1, 3, 3, 4).mean(axis=0)
    by_group = (rounded - weight).reshape(group, 4 // group, 4 // group, 3, 3)
    expected = -np.einsum("gocij,ijgc->go", by_group, windows.reshape(3, 3, group, 4 // group)).ravel()
    np.testing.assert_allclose(correction, expected, rtol=0.05, atol=2e-3)


@pytest.mark.parametrize(("features", "largest"), [(9, 126), (400, 127)])
def test_weights_keep_to_the_largest_number_that_the_compiler_has(features, largest):
    rows = np.random.default_rng(0).normal(size=(6, features)).astype(np.float32)
    held = weight_encoding(rows, WeightFormat("int8", symmetric=True, by_channel=True, largest=largest), 0)
    assert np.abs(quantize(rows, held).astype(int)).max(axis=1).tolist() == [largest] * 6
    assert np.abs(quantize(4 * rows, held).astype(int)).max() == largest
    top = largest * np.array(held.scale)
    assert held.range == pytest.approx((-top.max(), top.max()))


def test_weights_that_are_compressed_cover_their_range():
    rows = np.random.default_rng(0).standard_t(4, size=(6, 400)).astype(np.float32)
    held = weight_encoding(rows, WeightFormat("int8", symmetric=True, by_channel=True, whole=True), 0)
    assert held.scale == pytest.approx(np.abs(rows).max(axis=1) / 127)
    assert np.any(fitted_scales(rows, "int8") < held.scale)


@pytest.mark.parametrize("dtype", ["uint4", "int4", "uint8"])
@pytest.mark.parametrize("by_channel", [True, False])
def test_asymmetric_weights_are_fitted_too(dtype, by_channel):
    """Each end is cut off on its own where that makes the squared error less."""
    rows = np.random.default_rng(0).standard_t(4, size=(6, 400)).astype(np.float32) + 0.5
    fitted = weight_encoding(rows, WeightFormat(dtype, symmetric=False, by_channel=by_channel), 0)
    few = weight_encoding(rows[:, :8], WeightFormat(dtype, symmetric=False, by_channel=by_channel), 0)

    def error(encoding):
        return float(((dequantize(quantize(rows, encoding), encoding) - rows) ** 2).sum())

    ends = np.stack((rows.min(axis=1), rows.max(axis=1)), axis=1)
    whole = ends if by_channel else np.array([[rows.min(), rows.max()]])
    covering = [affine(float(low), float(high), dtype) for low, high in whole]
    plain = fitted.model_copy(
        update={"scale": tuple(scale for scale, _ in covering), "zero_point": tuple(point for _, point in covering)}
    )
    assert error(fitted) <= error(plain) * (0.95 if dtype.endswith("4") else 1)
    assert len(few.scale) == (6 if by_channel else 1)


@pytest.mark.parametrize("dtype", ["int4", "int8", "uint8"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_scales_that_are_shifts_are_the_better_of_the_two_next_to_the_range(dtype, symmetric):
    rows = np.random.default_rng(0).standard_t(4, size=(6, 400)).astype(np.float32)
    held = weight_encoding(rows, WeightFormat(dtype, symmetric=symmetric, by_channel=True, shifts=True), 0)
    assert np.log2(held.scale).tolist() == np.rint(np.log2(held.scale)).tolist()

    def errors(scale):
        other = held.model_copy(update={"scale": tuple(scale)})
        return ((dequantize(quantize(rows, other), other) - rows) ** 2).sum(axis=1)

    if symmetric:
        own = errors(held.scale)
        for factor in (0.5, 2):
            assert (own <= errors(np.multiply(held.scale, factor))).all()


def test_symmetric_unsigned_weights_have_zero_in_the_middle():
    rows = np.random.default_rng(0).normal(size=(3, 100)).astype(np.float32)
    held = weight_encoding(rows, WeightFormat("uint8", symmetric=True, by_channel=True), 0)
    twin = weight_encoding(rows, WeightFormat("int8", symmetric=True, by_channel=True), 0)
    assert held.zero_point == (128,)
    assert held.scale == twin.scale
    np.testing.assert_array_equal(dequantize(quantize(rows, held), held), dequantize(quantize(rows, twin), twin))
