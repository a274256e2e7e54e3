from npuopt.passes.lower.lower_variadic_extremes import LowerVariadicExtremes
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 4] a, float[4] b, float[N, 1] c) => (float[N, 4] y) {y = Min(a, b, c)}"


def test_becomes_a_chain():
    after = """(float[N, 4] a, float[4] b, float[N, 1] c) => (float[N, 4] y) {d = Min(a, b) y = Min(d, c)}"""
    assert_rewrites(LowerVariadicExtremes(), BEFORE, after)


def test_one_tensor_is_itself():
    text = "(int8[4] a) => (int8[4] y) {y = Max(a)}"
    assert_rewrites(LowerVariadicExtremes(), text, text.replace("Max", "Identity"))


def test_leaves_two_tensors():
    assert_leaves(LowerVariadicExtremes(), BEFORE.replace(", c)}", ")}"), because=None)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        values = [around.op("Neg", around.input(*around.choose((2, 3), (3,), (2, 1)))) for _ in range(4)]
        around.op(around.choose("Max", "Min"), *values[: around.choose(1, 3, 4)])

    check_surroundings(LowerVariadicExtremes(), build, examples=12, least_hits=0.9, tolerance=0)
