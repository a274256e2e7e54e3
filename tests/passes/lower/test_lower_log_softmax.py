from npuopt.passes.lower.lower_log_softmax import LowerLogSoftmax
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 3] x) => (float[N, 3] y) {y = LogSoftmax(x)}"


def test_becomes_a_shifted_logarithm():
    assert_rewrites(
        LowerLogSoftmax(),
        BEFORE,
        """(float[N, 3] x) => (float[N, 3] y) <int64[1] axis = {-1}> {
            top = ReduceMax<keepdims = 1>(x, axis) s = Sub(x, top) e = Exp(s)
            total = ReduceSum<keepdims = 1>(e, axis) l = Log(total) y = Sub(s, l)
        }""",
    )


def test_stays_finite_where_a_softmax_is_zero():
    assert_rewrites(LowerLogSoftmax(), BEFORE, None, ranges={"x": (0.0, 200.0)})


def test_leaves_what_the_target_takes():
    assert_leaves(LowerLogSoftmax(), BEFORE, because=None, target=takes("LogSoftmax"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("LogSoftmax", around.op("Neg", around.input(2, 3, 4)), axis=around.choose(-1, 0, 1))

    check_surroundings(LowerLogSoftmax(), build, least_hits=0.9)
