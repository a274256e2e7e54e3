"""Encodings: the arithmetic, and the file that carries them."""

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npuopt.errors import InputError
from npuopt.graph.execution import Session
from npuopt.quantization import Encoding, Encodings
from npuopt.quantization.arithmetic import affine, dequantize, limits, quantize, saturation, symmetric_scales
from support.rewrites import model_from

TYPES = ["int4", "uint4", "int8", "uint8", "int16", "uint16"]


def encoding(dtype="uint8", scale=0.1, zero_point=0, **fields):
    return Encoding(dtype=dtype, scale=scale, zero_point=zero_point, **fields)


def test_halves_round_to_even():
    held = quantize(np.array([0.5, 1.5, 2.5, -0.5], np.float32), encoding("int8", 1.0))
    assert held.tolist() == [0, 2, 2, 0]


def test_numbers_out_of_range_saturate():
    assert quantize(np.array([-9.0, 300.0]), encoding(scale=1.0, zero_point=3)).tolist() == [0, 255]


def test_channels_have_scales_of_their_own():
    held = quantize(np.array([[1.0, 1.0], [2.0, 2.0]]), encoding("int8", [0.5, 1.0], 0, axis=0))
    assert held.tolist() == [[2, 2], [2, 2]]
    assert dequantize(held, encoding("int8", [0.5, 1.0], [0, 1], axis=0)).tolist() == [[1, 1], [1, 1]]


def test_four_bit_types_are_held_in_their_own_type():
    held = quantize(np.array([-9.0, 3.0]), encoding("int4", 1.0))
    assert held.dtype == ml_dtypes.int4
    assert held.astype(int).tolist() == [-8, 3]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_the_runtime_quantizes_to_the_same_integers(dtype):
    scale, zero_point = affine(-1.7, 3.1, dtype)
    model = model_from(
        f"(float[1000] x) => ({dtype}[1000] y) <float s = {{{scale!r}}}, {dtype} z = {{{zero_point}}}>"
        " {y = QuantizeLinear(x, s, z)}"
    )
    x = np.random.default_rng(0).normal(0, 2, 1000).astype(np.float32)
    np.testing.assert_array_equal(Session(model).run({"x": x})["y"], quantize(x, encoding(dtype, scale, zero_point)))


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from(TYPES), st.booleans())
def test_a_range_is_covered_and_zero_is_exact(one, other, dtype, symmetric):
    low, high = min(one, other), max(one, other)
    held = encoding(dtype, *affine(low, high, dtype, symmetric=symmetric))
    step = held.scale[0]
    assert limits(dtype)[0] <= held.zero_point[0] <= limits(dtype)[1]
    assert held.range[0] <= min(low, 0) + step
    assert held.range[1] >= max(high, 0) - step
    inside = np.array([low, high, 0.0])
    assert np.abs(dequantize(quantize(inside, held), held) - inside).max() <= step * 1.01
    assert dequantize(quantize(inside, held), held)[2] == 0


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from(TYPES), st.booleans())
def test_scales_that_are_shifts_cover_as_much_and_are_the_least_that_do(one, other, dtype, symmetric):
    low, high = min(one, other), max(one, other)
    plain, _ = affine(low, high, dtype, symmetric=symmetric)
    shift, zero_point = affine(low, high, dtype, symmetric=symmetric, shifts=True)
    assert np.log2(shift) == round(np.log2(shift))
    assert plain <= shift < 2 * plain
    held = encoding(dtype, shift, zero_point)
    assert np.abs(dequantize(quantize(np.array([low, high]), held), held) - [low, high]).max() <= shift * 1.01


def test_channels_of_zeros_take_a_usable_scale():
    scales = symmetric_scales(np.array([0.0, 1.27, 1e-42]), "int8")
    np.testing.assert_allclose(scales, [0.01, 0.01, 0.01], rtol=1e-6)
    assert symmetric_scales(np.zeros(2), "int8").min() > 0


def test_saturation_counts_what_does_not_fit():
    numbers = np.array([-0.04, 0.0, 25.5, 25.54, 25.6, -1.0])
    assert saturation(numbers, encoding(scale=0.1)) == pytest.approx(2 / 6)
    assert saturation(np.zeros(0), encoding()) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": 0.0}, "greater than"),
        ({"scale": -1.0}, "greater than"),
        ({"scale": 1e-60}, r"greater than or equal to 0\.0+1401"),
        ({"scale": float("nan")}, "finite number|greater than"),
        ({"scale": float("inf")}, "finite number"),
        ({"scale": 1e39}, "less than or equal"),
        ({"zero_point": 256}, "zero point 256 is outside uint8"),
        ({"dtype": "int8", "zero_point": -129}, "zero point -129 is outside int8"),
        ({"dtype": "int7"}, "Input should be 'int4'"),
        ({"scale": [0.1, 0.2]}, "2 scales but no axis"),
        ({"scale": [0.1, 0.2], "zero_point": [1, 2, 3], "axis": 0}, "2 scales but 3 zero points"),
        ({"scale": []}, "at least 1 item"),
        ({"offset": 1}, "Extra inputs are not permitted"),
    ],
)
def test_encodings_that_make_no_sense_are_refused_by_tensor(tmp_path, fields, message):
    path = tmp_path / "encodings.json"
    tensor = {"dtype": "uint8", "scale": 0.1, "zero_point": 0, **fields}
    path.write_text(json.dumps({"format": "npuopt-encodings", "version": 1, "tensors": {"x": tensor}}))
    with pytest.raises(InputError, match=f"(?s)encodings.json: tensors.x.*({message})"):
        Encodings.load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Invalid JSON"),
        ('{"version": 2, "tensors": {}}', "version"),
        ('{"format": "aimet", "tensors": {}}', "format"),
        ("{}", "tensors"),
        ("\xff", "not UTF-8"),
    ],
)
def test_files_that_are_no_encodings_are_refused(tmp_path, text, message):
    path = tmp_path / "encodings.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        Encodings.load(path)
    with pytest.raises(InputError, match="cannot be read"):
        Encodings.load(tmp_path / "absent.json")


def test_a_file_gives_back_the_same_encodings(tmp_path):
    written = Encodings(
        target="test/chip",
        scheme="a8w8",
        tensors={
            "z": encoding("uint16", float(np.float32(1 / 3)), 17),
            "a": encoding("int8", [float(np.float32(0.1)), 1e-30], 0, axis=1),
        },
        uses={"y": {1: encoding("uint8", 0.7, 3)}},
        corrections={"y": {2: (0.1, -1e-7)}},
    )
    written.save(tmp_path / "e.json")
    assert Encodings.load(tmp_path / "e.json") == written
    lines = (tmp_path / "e.json").read_text().splitlines()
    assert [line.split('"')[1] for line in lines if '"dtype"' in line] == ["a", "z", "y"], "one sorted line a tensor"
    assert json.loads((tmp_path / "e.json").read_text())["tensors"]["z"]["scale"] == np.float32(1 / 3)


MODEL = "(float[2,3] x) => (float[2,3] y) {hidden = Relu(x) y = Exp(hidden)}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"tensors": {"hiden": encoding()}}, "does not have: hiden; did you mean hidden"),
        ({"tensors": {"x": encoding(scale=[1.0, 1.0], axis=1)}}, "x: 2 scales for 3 channels"),
        ({"tensors": {"x": encoding(scale=[1.0, 1.0], axis=2)}}, "x: axis 2 of a tensor of rank 2"),
        ({"tensors": {}, "uses": {"x": {0: encoding()}}}, "does not have: the one that makes x"),
        ({"tensors": {}, "uses": {"y": {1: encoding()}}}, "input 1 of the node that makes y"),
        ({"tensors": {}, "corrections": {"y": {0: (1.0,)}}}, r"hidden: 1 corrections for shape \[2, 3\]"),
        ({"tensors": {}, "corrections": {"z": {0: (1.0,)}}}, "the one that makes z"),
    ],
)
def test_encodings_of_another_model_are_refused(content, message):
    with pytest.raises(InputError, match=message):
        Encodings(**content).check(model_from(MODEL))
