from npuopt.passes.lower.lower_negation import LowerNegation
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(int32[N] x) => (int32[N] y) {y = Neg(x)}"


def test_becomes_a_product():
    assert_rewrites(LowerNegation(), BEFORE, "(int32[N] x) => (int32[N] y) <int32 minus = {-1}> {y = Mul(x, minus)}")


def test_leaves_what_the_target_takes():
    assert_leaves(LowerNegation(), BEFORE, because=None, target=takes("Neg"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Neg", around.op("Abs", around.input(2, 3, dtype=around.choose("int32", "int64", "float32"))))

    check_surroundings(LowerNegation(), build, least_hits=0.9, tolerance=0)
