"""Encodings that a quantized model came with, put where a made-up chip wants them."""

import numpy as np
import pytest

from npuopt.errors import UsageError
from npuopt.graph import note_origins
from npuopt.passes.quantize.drop_quantize_dequantize import DropQuantizeDequantize
from npuopt.passes.quantize.insert_quantize_dequantize import InsertQuantizeDequantize
from npuopt.quantization.encodings import per_tensor
from npuopt.quantization.incoming.keeping import fitting_scheme, kept_encodings
from npuopt.quantization.incoming.quantized_model import Incoming
from npuopt.quantization.incoming.spreading import recast, scaled
from support.integer_chip import integer_chip
from support.numbers import draw_feeds, run
from support.rewrites import model_from

STEPS = "float s = {0.05}, int8 z = {3}, float t = {0.1}, int8 n = {0}"
SHIFTED = 131
"""The zero point 3 of int8 in uint8, which stands for the same steps."""


def keep(text, scheme="a8w8", *, tolerance=1e-6):
    """Drop the pairs of a graph and put them in again; the numbers must be those of before."""
    model = model_from(text)
    feeds = draw_feeds(model, 0)
    before = run(model, feeds)
    drop = DropQuantizeDequantize()
    drop(model)
    note_origins(model)
    kept = kept_encodings(model, integer_chip(), scheme, drop.found[0])
    InsertQuantizeDequantize(encodings=kept.encodings, integers=kept.integers)(model)
    after = run(model, feeds)
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, atol=tolerance)
    return kept


def pair(tensor, name, scale="s", zero="z"):
    return f"{name}q = QuantizeLinear({tensor}, {scale}, {zero}) {name} = DequantizeLinear({name}q, {scale}, {zero})\n"


def test_signed_activations_become_the_unsigned_ones_that_the_chip_wants():
    kept = keep(f"(float[2] x) => (float[2] y) <{STEPS}> {{{pair('x', 'd')} m = Neg(d) {pair('m', 'y', 't', 'n')}}}")
    assert kept.encodings.tensors == {
        "x": per_tensor("uint8", 0.05, SHIFTED).model_copy(update={"scale": (float(np.float32(0.05)),)}),
        "y": per_tensor("uint8", 0.1, 128).model_copy(update={"scale": (float(np.float32(0.1)),)}),
    }
    assert not kept.in_float


def test_weights_keep_their_integers_and_a_float_bias_gets_the_product_of_scales():
    kept = keep(
        f"""(float[2,2] x) => (float[2,2] y)
        <{STEPS}, int8[2,2] w = {{1,-128,3,4}}, float[2] b = {{1.5,-2}}>
        {{{pair("x", "d")} v = DequantizeLinear(w, t, n) m = Gemm(d, v, b) {pair("m", "y", "t", "n")}}}""",
        tolerance=0.1001,  # a step of the result: the bias was float
    )
    (weight,) = kept.integers
    assert kept.integers[weight].tolist() == [[1, -128], [3, 4]]
    assert kept.encodings.tensors["b"].dtype == "int32"
    assert kept.encodings.tensors["b"].scale == (pytest.approx(0.005),)
    assert not kept.in_float


def test_what_only_moves_or_limits_numbers_passes_encodings_on():
    kept = keep(
        f"""(float[2,3] x) => (float[3,2] y) <{STEPS}>
        {{{pair("x", "d")} m = Neg(d) r = Relu(m) t2 = Transpose(r) {pair("t2", "y", "t", "n")}}}"""
    )
    assert set(kept.by_rule) == {"m", "r"}
    assert len({kept.encodings.tensors[name] for name in ("m", "r", "y")}) == 1


def test_a_bound_output_takes_the_chips_encoding():
    kept = keep(
        f"(float[2] x) => (float[2] y) <{STEPS}> {{{pair('x', 'd')} m = Softmax(d) {pair('m', 'y', 't', 'n')}}}",
        tolerance=0.06,
    )
    assert kept.encodings.tensors["y"] == per_tensor("uint8", 0.00390625, 0)


def test_a_concat_reads_its_inputs_in_the_encoding_of_its_output():
    kept = keep(
        f"""(float[2] x, float[2] z2) => (float[4] y) <{STEPS}>
        {{{pair("x", "d")} {pair("z2", "e", "t", "n")} a = Neg(d) {pair("a", "f")} b = Neg(e) {pair("b", "g", "t", "n")}
        m = Concat<axis = 0>(f, g) {pair("m", "y", "t", "n")}}}"""
    )
    assert kept.encodings.uses["y"].keys() == {0}
    assert not kept.in_float


def test_a_node_with_an_unknown_neighbour_stays_float_and_says_so():
    kept = keep(f"(float[2] x) => (float[2] y) <{STEPS}> {{{pair('x', 'd')} m = Neg(d) y = Exp(m)}}", tolerance=1e3)
    assert list(kept.in_float.values()) == ["m has no encoding"]
    assert kept.encodings.tensors == {}


def test_a_weight_in_float_stays_float():
    kept = keep(
        f"""(float[2,2] x) => (float[2,2] y) <{STEPS}, float[2,2] w = {{0.123,-1.77,0.5471,1.001}}>
        {{{pair("x", "d")} m = MatMul(d, w) {pair("m", "y", "t", "n")}}}""",
        tolerance=1.0,
    )
    assert "weight w does not lie on steps" in next(iter(kept.in_float.values()))


def test_one_reader_that_sees_other_integers():
    kept = keep(
        f"""(float[2] x) => (float[2] y, float[2] v) <{STEPS}>
        {{{pair("x", "d")} a = Neg(d) {pair("a", "y", "t", "n")}
        {pair("x", "e", "t", "n")} b = Neg(e) {pair("b", "v", "t", "n")}}}""",
        tolerance=0.1001,
    )
    assert [list(by_index) for by_index in kept.encodings.uses.values()] == [[0]]


def test_a_tensor_that_is_read_in_float_too_is_not_rounded_for_that_reader():
    kept = keep(
        f"""(float[2] x) => (float[2] y, float[2] v) <{STEPS}>
        {{{pair("x", "d")} a = Neg(d) {pair("a", "y", "t", "n")} v = Exp(x)}}"""
    )
    assert "x" not in kept.encodings.tensors
    assert kept.encodings.uses["y"][0].dtype == "uint8"


@pytest.mark.parametrize(("dtype", "scheme"), [("int8", "a8w8"), ("uint16", "a16w8")])
def test_the_scheme_that_fits(dtype, scheme):
    assert fitting_scheme(integer_chip(), Incoming({"x": per_tensor(dtype, 1.0, 0)})) == scheme


def test_no_scheme_that_fits():
    with pytest.raises(UsageError, match=r"activations have 4 bits, .*--requantize"):
        fitting_scheme(integer_chip(), Incoming({"x": per_tensor("uint4", 1.0, 0)}))
    assert fitting_scheme(integer_chip(), Incoming()) is None


def test_the_same_steps_in_another_type():
    assert recast(per_tensor("int8", 0.5, 3), "uint8") == per_tensor("uint8", 0.5, SHIFTED)
    assert recast(per_tensor("int8", 0.5, 3), "uint16") == per_tensor("uint16", 0.5, 32771)
    assert recast(per_tensor("uint16", 0.5, 3), "uint8") is None


def test_a_tensor_times_a_factor():
    assert scaled(per_tensor("uint8", 0.5, 10), 0.25) == per_tensor("uint8", 0.125, 10)
    mirrored = scaled(per_tensor("uint8", 0.5, 10), -1.0)
    assert mirrored.range == (-per_tensor("uint8", 0.5, 10).range[1], -per_tensor("uint8", 0.5, 10).range[0])
    assert scaled(per_tensor("int8", 0.5, 0), -1.0) == per_tensor("int8", 0.5, 0)
