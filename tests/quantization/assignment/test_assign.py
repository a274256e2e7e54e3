"""Which tensors get which encodings: each rule on the smallest graph that shows it."""

import numpy as np
import pytest

from npuopt.errors import InputError, UsageError
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.quantization import Range, Ranges, encodings_for
from npuopt.quantization.assignment.activations import HEADROOM
from npuopt.target import parse_target
from support.assigning import assign, covers
from support.integer_chip import integer_chip
from support.rewrites import model_from


def test_activations_cover_what_was_seen():
    tensors = assign("(float[2] x) => (float[2] y) {y = Add(x, x)}", x=(-1, 3), y=(-2, 6)).tensors
    assert set(tensors) == {"x", "y"}
    assert tensors["x"].dtype == "uint8"
    assert covers(tensors["x"]) == (-1, 3)
    assert covers(tensors["y"]) == (-2, 6)
    assert tensors["x"].scale[0] == np.float32(4 / 255)
    assert assign("(float[2] x) => (float[2] y) {y = Add(x, x)}", "a16w8").tensors["y"].dtype == "uint16"


def test_a_scheme_of_shifts_has_powers_of_two_everywhere_and_its_own_check_takes_them():
    text = """(float[2,2] x) => (float[2,3] y)
    <float[2,3] w = {1,2,3,4,5,-6}, float[3] b = {900,7,1}, float[2] c = {3,5}>
    {a = Mul(x, c) y = Gemm(a, w, b)}"""
    chip = parse_target(
        """
name: test/shifts
title: A chip that multiplies by shifting
delegate: {road: ort}
schemes:
  a8w8: {activation: int8, activation_symmetric: true, weight: int8, weight_axis: channel, bias: int32,
         power_of_two: true}
ops:
  Mul: {schemes: [a8w8]}
  Gemm: {schemes: [a8w8], quantization: {weights: [1], bias: 2}}
"""
    )
    encodings = assign(text, chip=chip, x=(-1.7, 3), a=(-3, 11), y=(-30, 6))
    assert set(encodings.tensors) == {"x", "c", "a", "w", "b", "y"}
    for held in encodings.tensors.values():
        assert np.log2(held.scale).tolist() == np.rint(np.log2(held.scale)).tolist()
    assert encodings.tensors["x"].range[1] >= 3
    model = model_from(text)
    with_options(find_pass("insert-quantize-dequantize"), {"encodings": encodings})(model, chip)
    assert not [
        reason for node in model.graph if node.op_type in ("Mul", "Gemm") for reason in chip.accepts(node).reasons
    ]


def test_sixteen_bits_have_headroom_for_what_no_sample_showed():
    text = "(float[2] x) => (float[2] y) {y = Add(x, x)}"
    assert covers(assign(text, "a16w8", y=(-2, 6)).tensors["y"]) == (-2 * HEADROOM, 6 * HEADROOM)
    assert covers(assign(text, "a8w8", y=(-2, 6)).tensors["y"]) == (-2, 6)


def test_headroom_ends_at_the_bounds_of_a_clip():
    text = "(float[2] x) => (float[2] y) <float l = {-1}, float h = {6}> {a = Add(x, x) y = Clip(a, l, h)}"
    tensors = assign(text, "a16w8", a=(-9, 30), y=(-1, 6)).tensors
    assert covers(tensors["y"]) == (-1, 6)
    assert tensors["a"] == tensors["y"], "what only the Clip reads is rounded once"
    assert covers(assign(text, "a16w8", a=(0, 2), y=(0, 2)).tensors["y"]) == (0, 2 * HEADROOM)


def test_ops_that_move_numbers_share_one_encoding():
    text = """(float[2,2] x, float[2,2] p) => (float[4,2] y, float[2,4] z)
    {a = Neg(x) b = Transpose(a) y = Concat<axis=0>(b, p) z = Transpose(y)}"""
    tensors = assign(text, a=(-3, 1), b=(-3, 1), p=(0, 5), y=(-3, 5), z=(-3, 5)).tensors
    assert len({tensors[name] for name in "abpyz"}) == 1
    assert covers(tensors["a"]) == (-3, 5)
    assert tensors["x"] != tensors["a"]


def test_a_cache_and_what_is_written_into_it_are_tied():
    text = """(float[1,3,2] past, float[1,1,2] x) => (float[1,4,2] present)
    {new = Neg(x) present = Concat<axis=1>(past, new)}"""
    tensors = assign(text, past=(-4, 4), new=(-1, 1), present=(-4, 4)).tensors
    assert tensors["past"] == tensors["new"] == tensors["present"]


def test_a_table_that_is_looked_up_has_the_encoding_of_what_is_found():
    text = "(int64[2] i) => (float[2,2] y) <float[3,2] t = {0,1,2,3,4,-5}> {e = Gather<axis=0>(t, i) y = Neg(e)}"
    tensors = assign(text, "a16w8").tensors
    assert tensors["t"] == tensors["e"]
    assert covers(tensors["t"]) == (-5, 4), "all of the table, not only what the samples looked up"
    assert tensors["t"].dtype == "uint16"


def test_a_tied_table_is_read_in_two_encodings():
    text = """(int64[2] i) => (float[2,3] y) <float[3,2] t = {0,1,2,3,4,-5}>
    {e = Gather<axis=0>(t, i) n = Neg(e) y = Gemm<transB=1>(n, t)}"""
    encodings = assign(text, "a16w8")
    assert encodings.tensors["t"].dtype == "uint16"
    assert (encodings.uses["y"][1].dtype, encodings.uses["y"][1].axis) == ("int8", 0)


def test_fixed_outputs_are_as_the_chip_says_and_carry_through_moves():
    text = "(float[2,2] x) => (float[2,2] y) {s = Softmax(x) t = Transpose(s) y = Neg(t)}"
    tensors = assign(text, s=(0, 0.7), t=(0, 0.7)).tensors
    assert tensors["s"].scale == tensors["t"].scale == (1 / 256,)


def test_a_fixed_output_that_meets_others_is_converted_where_it_meets_them():
    text = "(float[2,2] x) => (float[4,2] y) {s = Softmax(x) n = Neg(x) y = Concat<axis=0>(s, n)}"
    encodings = assign(text, n=(-8, 8), y=(-8, 8))
    assert encodings.tensors["s"].scale == (1 / 256,)
    assert encodings.uses["y"] == {0: encodings.tensors["y"]}
    assert encodings.tensors["n"] == encodings.tensors["y"]


def test_an_operand_of_another_type_is_converted_ahead_of_moves():
    text = """(float[1,2,2] past, float[1,1,2] x, float[1,1,2] q) => (float[1,1,3] y, float[1,3,2] present)
    {new = Neg(x) present = Concat<axis=1>(past, new) k = Transpose<perm=[0,2,1]>(present) y = MatMul(q, k)}"""
    encodings = assign(text, "a16w8")
    assert {encodings.tensors[name].dtype for name in ("past", "present", "k")} == {"uint8"}
    assert {encodings.tensors[name].dtype for name in ("new", "q", "y", "x")} == {"uint16"}
    assert encodings.uses == {"present": {1: encodings.tensors["present"]}}


def test_an_operand_of_another_type_is_converted_at_its_use_where_others_read_it_too():
    text = """(float[2,2] q, float[2,2] x) => (float[2,2] y, float[2,2] z)
    {v = Neg(x) y = MatMul(q, v) z = Neg(v)}"""
    encodings = assign(text, "a16w8", v=(-2, 2))
    assert encodings.tensors["v"].dtype == "uint16"
    assert encodings.uses["y"][1].dtype == "uint8"
    assert covers(encodings.uses["y"][1]) == (-2, 2)


@pytest.mark.parametrize(
    ("op", "constants", "seen"),
    [("Relu(h)", "", (0, 4)), ("Clip(h, lo, hi)", "<float lo = {0}, float hi = {6}>", (0, 6))],
)
def test_what_an_activation_function_cuts_off_needs_no_integers(op, constants, seen):
    text = f"(float[2] x) => (float[2] y) {constants} {{h = Neg(x) y = {op}}}"
    tensors = assign(text, h=(-9, max(seen[1], 9) if constants else 4), y=seen).tensors
    assert tensors["h"] == tensors["y"], "so that the function does nothing any more"
    assert "lo" not in tensors, "bounds are no data"


def test_what_is_cut_is_held_as_the_result_is_so_that_compilers_fuse_the_two():
    """The result shares its encoding with what is moved, which covers more than was seen of the result alone."""
    text = "(float[2] x) => (float[1,2] y) <int64[2] s = {1, 2}> {h = Neg(x) r = Relu(h) y = Reshape(r, s)}"
    tensors = assign(text, h=(-9, 4), r=(0, 4), y=(-1, 6)).tensors
    assert tensors["h"] == tensors["r"] == tensors["y"]
    assert covers(tensors["h"]) == (-1, 6)
    twice = text.replace("(float[1,2] y)", "(float[1,2] y, float[2] z)").replace("y =", "z = Neg(h) y =")
    assert covers(assign(twice, h=(-9, 4), r=(0, 4), y=(-1, 6)).tensors["h"]) == (-9, 4), "somebody else reads it"


def test_a_function_that_shares_one_encoding_with_its_input_still_cuts_its_range():
    """Some kernels compare integers as they are stored; what they cut off must not cost them half of their numbers."""
    chip = parse_target(
        """
name: test/compares
title: A chip that cuts stored integers
delegate: {road: ort}
schemes:
  a8w8: {activation: int8, weight: int8, weight_axis: channel, bias: int32}
ops:
  Neg: {schemes: [a8w8]}
  Clip: {schemes: [a8w8], quantization: {share: true}}
"""
    )
    text = "(float[2] x) => (float[2] y) <float lo = {0}, float hi = {6}> {h = Neg(x) c = Clip(h, lo, hi) y = Neg(c)}"
    tensors = assign(text, chip=chip, h=(-9, 9), c=(0, 6), y=(-6, 0)).tensors
    assert tensors["h"] == tensors["c"]
    assert covers(tensors["h"]) == (0, 6)


def test_a_second_reader_or_a_graph_output_needs_all_numbers():
    shared = "(float[2] x) => (float[2] y, float[2] z) {h = Neg(x) y = Relu(h) z = Neg(h)}"
    assert covers(assign(shared, h=(-9, 4)).tensors["h"]) == (-9, 4)
    output = "(float[2] x) => (float[2] h, float[2] y) {h = Neg(x) y = Relu(h)}"
    assert covers(assign(output, h=(-9, 4)).tensors["h"]) == (-9, 4)


def test_saturating_functions_need_only_what_they_can_tell_apart():
    text = "(float[2] x) => (float[2] y) {h = Neg(x) y = Sigmoid(h)}"
    low, high = assign(text, h=(-50, 30)).tensors["h"].range
    assert -6.4 < low < -6 < 6 < high < 6.4
    assert 1 / (1 + np.exp(-low)) < 0.5 / 255, "what saturates would have rounded to 0"


SCORES = "(float[1,8] x) => (float[1,8] y) <float[1,8] m = {M}> {{s = Neg(x) t = Add(s, m) y = Softmax(t)}}"
MASK = "{0,0,0,0,-200,-200,-200,-200}"


def test_masked_scores_reach_down_to_what_a_softmax_can_tell_apart():
    text = SCORES.replace("{{", "{").replace("}}", "}").replace("{M}", MASK)
    for seen in (Range(-205, 9, row_peak=4.0), Range(2, 9, row_peak=4.0)):
        low, high = assign(text, t=seen).tensors["t"].range
        assert high == pytest.approx(9, rel=0.01)
        assert 8 * np.exp(low - 4) == pytest.approx(0.5 / 255, rel=0.1), "eight masked numbers round to nothing"


def test_a_mask_covers_its_number_even_if_no_sample_masks():
    text = """(bool[8] keep, float[8] x) => (float[8] y) <float far = {-200}, float one = {1}>
    {k = Cast<to=1>(keep) gone = Sub(one, k) m = Mul(gone, far) s = Add(x, m) y = Softmax(s)}"""
    tensors = assign(text, m=(0, 0), s=Range(-1, 3, row_peak=2.0)).tensors
    assert covers(tensors["m"]) == (-200, 0)
    assert tensors["s"].range[0] < 2 - 6


def test_float_ops_and_refused_ops_keep_their_tensors_in_float():
    text = "(float[2] x) => (float[2] y) {a = Exp(x) b = Log(a) y = Exp(b)}"
    assert assign(text).tensors == {}
    edge = assign("(float[2] x) => (float[2] y) {a = Exp(x) b = Neg(a) y = Exp(b)}").tensors
    assert set(edge) == {"a", "b"}


def test_moves_between_float_ops_stay_float():
    text = "(float[2,2] x) => (float[2,2] y, float[2,2] z) {a = Exp(x) b = Transpose(a) y = Exp(b) z = Neg(x)}"
    assert set(assign(text).tensors) == {"x", "z"}


def test_integers_and_truth_values_are_left_alone():
    text = """(bool[2] c, int64[2] i, float[2] x) => (float[2] y, int64[2] j)
    {y = Where(c, x, x) j = Add(i, i)}"""
    assert set(assign(text).tensors) == {"x", "y"}


def test_what_calibration_did_not_see_is_named():
    model = model_from("(float[2] x) => (float[2] y) {y = Neg(x)}")
    with pytest.raises(InputError, match="y: calibration saw no numbers"):
        encodings_for(model, integer_chip(), "a8w8", Ranges({"x": Range(0, 1)}))


def test_float_schemes_have_no_encodings():
    with pytest.raises(UsageError, match="computes in float"):
        assign("(float[2] x) => (float[2] y) {y = Neg(x)}", "fp16")


def test_inputs_of_a_join_share_one_encoding_only_where_they_are_alike():
    text = "(float[1,2] x, float[1,2] p) => (float[2,2] y) {n = Neg(x) y = Concat<axis=0>(n, p)}"
    chip = integer_chip(free_joins=True)
    alike = assign(text, chip=chip, n=(-3, 3), p=(-1, 1), y=(-3, 3)).tensors
    assert alike["n"] == alike["p"] == alike["y"]
    unlike = assign(text, chip=chip, n=(-9, 9), p=(-1, 1), y=(-9, 9)).tensors
    assert unlike["n"] == unlike["y"] != unlike["p"]


def test_results_that_are_bounded_are_held_whole_and_no_further():
    text = "(float[2] x) => (float[2] y) {t = Tanh(x) y = Neg(t)}"
    assert covers(assign(text, "a16w8", t=(-0.3, 0.2)).tensors["t"]) == (-1, 1)
