from npuopt.passes.lower.lower_shrink import LowerShrink
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_becomes_two_selections():
    assert_rewrites(
        LowerShrink(),
        "(float[N, 4] x) => (float[N, 4] y) {y = Shrink<lambd = 1.0, bias = 0.25>(x)}",
        """(float[N, 4] x) => (float[N, 4] y)
        <float low = {-1}, float bias = {0.25}, float high = {1}, float zero = {0}> {
            below = Less(x, low) up = Add(x, bias)
            above = Greater(x, high) down = Sub(x, bias)
            inner = Where(above, down, zero)
            y = Where(below, up, inner)
        }""",
    )


def test_leaves_integers():
    assert_leaves(LowerShrink(), "(int32[N] x) => (int32[N] y) {y = Shrink(x)}", because="do not fit into INT32")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3))
        around.op("Shrink", x, lambd=around.choose(0.5, 1.5), bias=around.choose(0.0, 0.5))

    check_surroundings(LowerShrink(), build, least_hits=0.9)
