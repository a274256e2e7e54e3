from npuopt.passes.lower.lower_local_response_normalization import LowerLocalResponseNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N, 3, 4, 1] x) => (float[N, 3, 4, 1] y) {y = LRN<size = 3, alpha = 0.75, beta = 0.25, bias = 2.0>(x)}"


def test_becomes_a_convolution_across_channels():
    after = """(float[N, 3, 4, 1] x) => (float[N, 3, 4, 1] y)
        <float[3, 3, 1, 1] w = {0.25, 0.25, 0, 0.25, 0.25, 0.25, 0, 0.25, 0.25}, float[3] b = {2, 2, 2},
         float beta = {-0.25}>
        {
        s = Mul(x, x) c = Conv(s, w, b) p = Pow(c, beta) y = Mul(x, p)
    }"""
    assert_rewrites(LowerLocalResponseNormalization(), BEFORE, after)


def test_becomes_a_quotient_where_that_is_asked_for():
    after = """(float[N, 3, 4, 1] x) => (float[N, 3, 4, 1] y)
        <float[3, 3, 1, 1] w = {0.25, 0.25, 0, 0.25, 0.25, 0.25, 0, 0.25, 0.25}, float[3] b = {2, 2, 2},
         float beta = {0.25}>
        {
        s = Mul(x, x) c = Conv(s, w, b) p = Pow(c, beta) y = Div(x, p)
    }"""
    assert_rewrites(LowerLocalResponseNormalization(quotient=True), BEFORE, after)


def test_leaves_channels_that_are_not_known_or_too_many():
    assert_leaves(
        LowerLocalResponseNormalization(), BEFORE.replace("[N, 3, 4, 1]", "[N, C, 4, 1]"), because="channels is C"
    )
    assert_leaves(LowerLocalResponseNormalization(most=2), BEFORE, because="is 3, not a number up to 2")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, around.choose(1, 5), 3, 2))
        around.op("LRN", x, size=around.choose(1, 3, 5), alpha=0.5, beta=0.75)

    check_surroundings(LowerLocalResponseNormalization(), build, examples=12, least_hits=0.9)
