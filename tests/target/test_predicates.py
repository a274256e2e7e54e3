"""The named conditions of descriptors, each on nodes that meet it and on nodes that do not."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npuopt.target.predicates import PREDICATES
from support.descriptors import first_node, node_of


def fault(name, *node):
    return PREDICATES[name](first_node(*node))


@pytest.mark.parametrize(
    ("shape", "axis", "reason"),
    [
        ("2,3", 0, ""),
        ("1,3", 1, ""),
        ("1,3", -1, ""),
        ("1,3", 0, "dimension 0 of input 0 is 1; more is taken"),
        ("2,1", -1, "dimension -1 of input 0 is 1; more is taken"),
        ("2,3", 4, "attribute axis is 4, and input 0 has 2 dimensions"),
    ],
)
def test_an_axis_has_several_elements(shape, axis, reason):
    body = f"y = LogSoftmax <axis = {axis}> (x)"
    assert fault("axis-has-several-elements", body, f"float[{shape}] x", "float[A,B] y") == reason


@pytest.mark.parametrize(
    ("body", "inputs", "constants", "kept"),
    [
        ("y = ReduceMax (x, axes)", "float[2,3] x", "int64[1] axes = {1}", True),
        ("y = ReduceMax (x, axes)", "float[2,3] x", "int64[1] axes = {-1}", True),
        ("y = ReduceMax (x, axes)", "float[2,3] x", "int64[2] axes = {1, 0}", False),
        ("y = ReduceMax (x, axes)", "float[2,3] x", "int64[1] axes = {-2}", False),
        ("y = ReduceMax (x)", "float[2,3] x", "", False),
        ("y = ReduceMax (x, axes)", "float[2,3] x, int64[1] axes", "", False),
    ],
)
def test_the_first_axis_is_kept(body, inputs, constants, kept):
    assert (fault("first-axis-is-kept", body, inputs, "float[A,B] y", constants) == "") == kept


@pytest.mark.parametrize(
    ("shape", "axes", "made", "reason"),
    [
        ("2,128,256", "1, 2", "2,1,1", ""),
        ("32768", "0", "1", ""),
        ("2,32769", "1", "2,1", "32769 elements are summed; at most 32768 are taken"),
        ("182,182,2", "0, 1", "1,1,2", "33124 elements are summed; at most 32768 are taken"),
        ("N,182,182", "1, 2", "N,1,1", "its shapes are not static"),
    ],
)
def test_a_sum_of_16_bit_numbers_fits_in_32_bits(shape, axes, made, reason):
    constants = f"int64[{len(axes.split(','))}] axes = {{{axes}}}"
    node = "y = ReduceMean (x, axes)", f"float[{shape}] x", f"float[{made}] y", constants
    assert fault("sums-of-16-bits-fit-in-32", *node) == reason


def test_numbers_with_a_sign_leave_room_for_twice_as_many():
    node = "y = ReduceSum (x, axes)", "float[{0}] x", "float[1] y", "int64[1] axes = {0}"
    reasons = [
        fault("sums-of-signed-16-bits-fit-in-32", node[0], node[1].format(count), *node[2:]) for count in (65536, 65537)
    ]
    assert reasons == ["", "65537 elements are summed; at most 65536 are taken"]


RESIZE = 'y = Resize <mode = "nearest", coordinate_transformation_mode = "{}"> (x, , {})'


def resized(transform, before, after=None, scale=None):
    grown = ", sizes" if after is not None else "scales"
    constants = f"int64[1] sizes = {{{after}}}" if after is not None else f"float[1] scales = {{{scale}}}"
    return fault(
        "no-sample-lies-halfway", RESIZE.format(transform, grown), f"float[{before}] x", "float[A] y", constants
    )


def test_halfway_samples_are_named():
    assert resized("half_pixel", 8, 12) == "an element on axis 0 lies halfway between two of input 0 (8 become 12)"


@pytest.mark.parametrize(
    ("transform", "before", "scale", "halfway"),
    [
        ("half_pixel", 8, "2.0", False),
        ("half_pixel", 8, "0.5", True),
        ("half_pixel", 9, "0.33333334", False),
        ("half_pixel", 6, "0.6666667", False),
        ("half_pixel", 8, "1.5", True),
        ("align_corners", 8, "2.0", False),
        ("asymmetric", 8, "2.0", True),
        ("asymmetric", 8, "3.0", False),
        ("half_pixel", 8, "1e-30", False),
    ],
)
def test_scales_are_looked_at(transform, before, scale, halfway):
    assert (resized(transform, before, scale=scale) != "") == halfway


def place(transform, index, before, after):
    """Where the ONNX standard reads element `index` of the output from."""
    match transform:
        case "half_pixel":
            return (index + Fraction(1, 2)) * Fraction(before, after) - Fraction(1, 2)
        case "align_corners":
            return index * Fraction(before - 1, after - 1) if after > 1 else Fraction(0)
        case _:
            return index * Fraction(before, after)


@given(
    transform=st.sampled_from(["half_pixel", "align_corners", "asymmetric"]),
    before=st.integers(1, 24),
    after=st.integers(1, 24),
)
def test_halfway_is_what_the_standards_formula_says(transform, before, after):
    places = [place(transform, index, before, after) for index in range(after)]
    assert (resized(transform, before, after) != "") == any(one.denominator == 2 for one in places)


@pytest.mark.parametrize(("kind", "narrow"), [("int8", True), ("uint8", True), ("int16", False), ("", True)])
def test_a_weight_has_at_most_8_bits(kind, narrow):
    stored = "w = DequantizeLinear (stored, s)  y = MatMul (x, w)" if kind else "y = MatMul (x, w)"
    inputs = f"float[2,4] x, {kind}[4,4] stored" if kind else "float[2,4] x, float[4,4] w"
    node = node_of("MatMul", stored, inputs, "float[A,B] y", "float s = {0.1}")
    assert (PREDICATES["weight-has-at-most-8-bits"](node) == "") == narrow


@pytest.mark.parametrize(
    ("body", "constants", "taken"),
    [
        ("y = Pow(x, e)", "float e = {-0.5}", True),
        ("y = Pow(x, e)", "float[1] e = {0.5}", False),
        ("y = Pow(x, e)", "float[2] e = {-0.5, -0.5}", False),
        ("e = DequantizeLinear(q, s) y = Pow(x, e)", "int8 q = {-128}, float s = {0.00390625}", True),
        ("e = DequantizeLinear(q, s) y = Pow(x, e)", "int8 q = {-127}, float s = {0.00390625}", False),
    ],
)
def test_the_exponent_is_minus_a_half(body, constants, taken):
    node = node_of("Pow", body, "float[2] x", "float[2] y", constants)
    assert (PREDICATES["exponent-is-minus-a-half"](node) == "") == taken


@pytest.mark.parametrize(("strides", "taken"), [("[2, 2]", True), ("[1, 2]", False)])
def test_strides_are_equal(strides, taken):
    body = f"y = ConvTranspose <strides = {strides}> (x, w)"
    assert (fault("strides-are-equal", body, "float[1,1,4,4] x, float[1,1,2,2] w", "float[A,B,C,D] y") == "") == taken


@pytest.mark.parametrize(
    ("inputs", "constants", "taken"),
    [
        ("float[2,3,4] x", "float[4,1] w = {1,2,3,4}", True),
        ("float[1,3,4] x", "float[1,4,1] w = {1,2,3,4}", False),
        ("float[2,3,4] x, float[2,4,5] w", "", True),
        ("float[2,3,4] x, float[1,4,5] w", "", False),
        ("float[2,3,4] x, float[4,5] w", "", False),
    ],
)
def test_weights_are_matrices_or_batches_are_equal(inputs, constants, taken):
    said = fault("matrix-weights-or-equal-batches", "y = MatMul(x, w)", inputs, "float[A,B,C] y", constants)
    assert (said == "") == taken


GROWN = 'y = Resize <mode = "{}", coordinate_transformation_mode = "{}"> (x, , , sizes)'


@pytest.mark.parametrize(
    ("mode", "transform", "size", "taken"),
    [
        ("nearest", "asymmetric", (8, 8), True),
        ("nearest", "asymmetric", (32, 32), True),
        ("nearest", "asymmetric", (12, 12), False),
        ("nearest", "asymmetric", (8, 16), False),
        ("nearest", "asymmetric", (4, 4), True),
        ("linear", "half_pixel", (8, 8), True),
        ("linear", "half_pixel", (16, 16), False),
        ("linear", "asymmetric", (16, 16), True),
    ],
)
def test_rows_and_columns_grow_by_two_four_or_eight(mode, transform, size, taken):
    sizes = f"int64[4] sizes = {{1, 2, {size[0]}, {size[1]}}}"
    outputs = f"float[1,2,{size[0]},{size[1]}] y"
    body = GROWN.format(mode, transform)
    assert (fault("grows-by-two-four-or-eight", body, "float[1,2,4,4] x", outputs, sizes) == "") == taken


@pytest.mark.parametrize(
    ("length", "attributes", "taken"),
    [
        (3, "", True),
        (4, "", False),
        (5, "", True),
        (2, "pads = [1, 0], ", True),
        (2, "pads = [1, 1], ", False),
        (5, "dilations = [2], ", True),
        (6, "dilations = [2], ", False),
    ],
)
def test_a_lone_window_reads_to_the_end(length, attributes, taken):
    inputs, name = f"float[1,2,{length}] x, float[2,2,3] w", "lone-windows-read-to-the-end"
    for op, rest in (("Conv", "(x, w)"), ("MaxPool", "(x)")):
        body = f"y = {op} <{attributes}strides = [2], kernel_shape = [3]> {rest}"
        assert (fault(name, body, inputs, "float[A,B,C] y") == "") == taken
