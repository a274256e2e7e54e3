from npuopt.passes.lower.lower_reciprocal import LowerReciprocal
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = Reciprocal(x)}"


def test_becomes_a_quotient():
    after = """(float[N, 4] x) => (float[N, 4] y) <float one = {1}> {y = Div(one, x)}"""
    assert_rewrites(LowerReciprocal(), BEFORE, after)


def test_leaves_what_the_target_takes():
    assert_leaves(LowerReciprocal(), BEFORE, because=None, target=takes("Reciprocal"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Reciprocal", around.op("Neg", around.input(2, 3)))

    check_surroundings(LowerReciprocal(), build, examples=12, least_hits=0.9)
