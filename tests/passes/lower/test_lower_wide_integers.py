import numpy as np
import pytest

from npuopt.passes.lower.integer_ranges import integer_range
from npuopt.passes.lower.lower_wide_integers import LowerWideIntegers
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(int32[3] x) => (int64[3] y) <int64 d = {1000}, int64[3] c = {1, -2, 3}"


def test_a_chain_stays_narrow_between_its_ends():
    before = f"{SIGNATURE}> {{w = Cast<to = 7>(x) n = Neg(c) m = Mod(w, d) y = Sub(m, n)}}"
    after = f"""{SIGNATURE}, int32 e = {{1000}}, int32[3] f = {{1, -2, 3}}> {{
        n = Neg(f) m = Mod(x, e) s = Sub(m, n) y = Cast<to = 7>(s)
    }}"""
    assert_rewrites(LowerWideIntegers(), before, after)


@pytest.mark.parametrize(
    "body",
    [
        "a = ArgMax<axis = 1, keepdims = 0>(f) y = Add(a, small)",
        "a = Shape(f) b = Slice(a, zero, one) y = Mul(b, small)",
        "v, a = TopK(f, one) b = Squeeze(a, one) y = Max(b, small)",
        "a = Cast<to = 7>(t) b = Transpose(a) c = Where(t, b, small) y = Neg(c)",
    ],
)
def test_proofs(body):
    size = 1 if "Shape" in body else 3
    text = f"""(float[3, 4] f, bool[3] t) => (int64[{size}] y)
        <int64[1] small = {{7}}, int64[1] zero = {{0}}, int64[1] one = {{1}}> {{{body}}}"""
    assert_rewrites(LowerWideIntegers(), text, None)


def test_what_has_wrapped_around_is_not_what_it_was():
    text = """(int8[3] x) => (int64[3] y) <int64 c = {2}>
        {v = Cast<to = 2>(x) w = Cast<to = 7>(v) y = Add(w, c)}"""
    assert_rewrites(LowerWideIntegers(), text, None)
    below = "(int8[3] x) => (bool[3] y, uint8[3] v) {v = Cast<to = 2>(x) y = Cast<to = 9>(v)}"
    assert integer_range(model_from(below).graph.outputs[1]) == (0, 255)


def test_comparisons_need_no_cast_behind_them():
    text = "(int32[3] x) => (bool[3] y) <int64 c = {2}> {w = Cast<to = 7>(x) y = Less(w, c)}"
    after = "(int32[3] x) => (bool[3] y) <int64 c = {2}, int32 d = {2}> {y = Less(x, d)}"
    assert_rewrites(LowerWideIntegers(), text, after)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("(int64[3] x) => (int64[3] y) {y = Neg(x)}", "'x' is not proven"),
        ("(int32[3] x) => (int64[3] y) {w = Cast<to = 7>(x) y = Add(w, w)}", "'y' is not proven"),
        ("(int32[3] x) => (int64[3] y) {w = Cast<to = 7>(x) y = Neg(w)}", "'y' is not proven"),
        (
            "(int8[3] x) => (int64[3] y) <int64 c = {3000000000}> {w = Cast<to = 7>(x) y = Max(w, c)}",
            "'c' is not proven",
        ),
        (
            """(int32[3] x) => (int64[3] y) <int32 c = {-1}, int64 e = {2147483647}>
            {u = Cast<to = 12>(c) w = Cast<to = 7>(u) v = Add(w, e) k = Cast<to = 7>(x) y = Min(v, k)}""",
            "'w' is not proven",
        ),
        ("(float[3] x) => (int64[3] y) {w = Cast<to = 7>(x) y = Abs(w)}", "'w' is not proven"),
    ],
)
def test_leaves_what_is_not_proven(text, because):
    assert_leaves(LowerWideIntegers(), text, because=because)


def test_leaves_narrow_integers_and_parameters():
    text = "(int32[3] x) => (int32[1, 3] y) <int64[2] s = {1, 3}> {y = Reshape(x, s)}"
    assert_leaves(LowerWideIntegers(), text, because=None)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Cast", around.input(2, 3, dtype="int8"), to=7)
        other = around.constant(np.array([1, -2, 2**20]), varies=False)
        y = around.op(around.choose("Add", "Mul", "Sub"), x, other)
        around.op(around.choose("Neg", "Abs", "Transpose"), y)

    check_surroundings(LowerWideIntegers(), build, examples=15, least_hits=0.9)
