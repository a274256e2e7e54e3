"""What stays in float32, on graphs that each have one reason for it."""

import numpy as np
import pytest

from npuopt.quantization.half_precision.formats import HALF_FORMATS
from npuopt.quantization.half_precision.islands import clamped_constants, find_islands
from support.rewrites import model_from


def islands(text, kind="float16", kept=(), **feeds):
    """The reasons, by what each node makes."""
    sample = {name: np.asarray(array, np.float32) for name, array in feeds.items()}
    return dict(find_islands(model_from(text), HALF_FORMATS[kind], [sample], kept=kept, threads=1).reasons)


def test_ordinary_numbers_need_no_island():
    text = "(float[4] x) => (float[4] y) {a = Tanh(x) y = Softmax(a)}"
    assert islands(text, x=[1, 2, 3, -4]) == {}
    assert islands(text, "bfloat16", x=[1, 2, 3, -4]) == {}


NORM = """(float[1,4] x) => (float[1,4] y) <int64[1] a = {1}, float e = {0.001}>
{p = Mul(x, x) m = ReduceMean(p, a) s = Add(m, e) r = Sqrt(s) y = Div(x, r)}"""


def test_squares_that_overflow_keep_their_maker_and_their_readers():
    found = islands(NORM, x=[[300, 1, 400, -2]])
    assert set(found) == {"p", "m"}
    assert "makes p, which reaches 1.6e+05 (overflow)" in found["p"]
    assert "reads p" in found["m"]
    assert islands(NORM, "bfloat16", x=[[300, 1, 400, -2]]) == {}  # as wide as float32


def test_squares_that_underflow():
    found = islands(NORM.replace("{0.001}", "{0.0001}"), x=[[1e-4, 2e-4, 1e-4, 1e-4]])
    assert "underflow" in found["p"]
    assert "reads p" in found["m"]


def test_an_epsilon_that_becomes_zero_keeps_the_node_that_adds_it():
    found = islands(NORM.replace("{0.001}", "{1e-12}"), x=[[1, 2, 3, 4]])
    assert found == {"s": "its constant 1e-12 becomes 0"}


def test_differences_of_nearly_equal_numbers_keep_what_makes_them():
    text = "(float[4] x) => (float[4] y) <float c = {1000}> {a = Add(x, c) t = Neg(a) u = Reshape(t, s) y = Add(u, c)}"
    text = text.replace("<float", "<int64[1] s = {4}, float")
    found = islands(text, x=[0.01, 0.02, -0.01, 0.03])
    assert set(found) == {"t", "u", "y"}
    assert "its own error is" in found["y"]
    assert "makes t, of whose rounding y makes much" in found["t"]


def test_positions_are_counted_in_float32_and_their_angles_too():
    text = """(int64[4] p, float[4] x) => (float[4] y) <float f = {0.1}>
    {a = Cast<to=1>(p) b = Mul(a, f) c = Cos(b) y = Mul(x, c)}"""
    sample = {"p": np.array([1, 2, 300, 4000]), "x": np.ones(4, np.float32)}
    found = find_islands(model_from(text), HALF_FORMATS["bfloat16"], [sample], threads=1).reasons
    assert set(found) == {"a", "b", "c"}
    assert "cannot count" in found["b"]


def test_truth_values_are_no_count():
    text = "(bool[4] p, float[4] x) => (float[4] y) {a = Cast<to=1>(p) y = Mul(x, a)}"
    sample = {"p": np.array([True, False, True, True]), "x": np.ones(4, np.float32)}
    assert not find_islands(model_from(text), HALF_FORMATS["float16"], [sample], threads=1).reasons


def test_nodes_that_were_asked_for():
    text = "(float[4] x) => (float[4] y) {a = Tanh(x) y = Softmax(a)}"
    assert islands(text, kept=["a"], x=[1, 2, 3, -4]) == {"a": "asked for"}


def test_infinities_of_the_model_itself_are_no_overflow():
    text = "(bool[2] c, float[2] x) => (float[2] y) <float m = {-inf}> {a = Where(c, x, m) y = Softmax(a)}"
    text = text.replace("{-inf}", "{0}").replace("m) y", "z) y").replace("{a =", "{z = Log(m) a =")
    sample = {"c": np.array([True, False]), "x": np.ones(2, np.float32)}
    assert not find_islands(model_from(text), HALF_FORMATS["float16"], [sample], threads=1).reasons


def test_a_branch_is_not_looked_into_and_an_empty_sample_is_none():
    text = """(float[N] x, bool c) => (float[N] y) {
    a = Neg(x)
    y = If (c) <then_branch = t () => (float[N] p) {p = Abs(a)}, else_branch = e () => (float[N] q) {q = Exp(a)}>}"""
    sample = {"x": np.zeros(0, np.float32), "c": np.array(True)}
    assert not find_islands(model_from(text), HALF_FORMATS["float16"], [sample], threads=1).reasons


def test_clamped_constants_are_those_that_nodes_read_in_the_type():
    model = model_from("(float[2] x) => (float[2] y) <float m = {-3e38}, float n = {7}> {a = Max(x, m) y = Add(a, n)}")
    assert clamped_constants(model, HALF_FORMATS["float16"], ()) == {"m": pytest.approx(3e38)}
    assert clamped_constants(model, HALF_FORMATS["float16"], ("a",)) == {}


def test_rounding_keeps_finite_numbers_finite():
    form = HALF_FORMATS["float16"]
    assert form.rounded(np.array([1e9, -1e9, 0.5])).tolist() == [65504, -65504, 0.5]
    assert form.rounding_db(np.linspace(-1, 1, 1001)) > 70
    assert HALF_FORMATS["bfloat16"].rounding_db(np.linspace(-1, 1, 1001)) == pytest.approx(54, abs=3)
