from npuopt.passes.lower.lower_mean_variance_normalization import LowerMeanVarianceNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 3, 4, 4] x) => (float[N, 3, 4, 4] y) {y = MeanVarianceNormalization<axes = [2, 3]>(x)}"


def test_becomes_means_and_a_quotient():
    assert_rewrites(
        LowerMeanVarianceNormalization(),
        BEFORE,
        """(float[N, 3, 4, 4] x) => (float[N, 3, 4, 4] y) <int64[2] axes = {2, 3}, float epsilon = {1e-9}> {
            m = ReduceMean<keepdims = 1>(x, axes) c = Sub(x, m) q = Mul(c, c) v = ReduceMean<keepdims = 1>(q, axes)
            d = Sqrt(v) e = Add(d, epsilon) y = Div(c, e)
        }""",
    )


def test_leaves_what_the_target_takes():
    assert_leaves(LowerMeanVarianceNormalization(), BEFORE, because=None, target=takes("MeanVarianceNormalization"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 4, 4))
        around.op("MeanVarianceNormalization", x, axes=around.choose([0, 2, 3], [1], [0, 1, 2, 3]))

    check_surroundings(LowerMeanVarianceNormalization(), build, least_hits=0.9)
