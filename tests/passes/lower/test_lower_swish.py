from npuopt.passes.lower.lower_swish import LowerSwish
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = Swish(x)}"


def test_becomes_a_sigmoid_gate():
    assert_rewrites(LowerSwish(), BEFORE, "(float[N, 4] x) => (float[N, 4] y) {s = Sigmoid(x) y = Mul(x, s)}")


def test_alpha_scales_the_gate_only():
    assert_rewrites(
        LowerSwish(),
        "(float16[N, 4] x) => (float16[N, 4] y) {y = Swish<alpha = 1.5>(x)}",
        """(float16[N, 4] x) => (float16[N, 4] y) <float16 alpha = {15872}> {
            a = Mul(x, alpha) s = Sigmoid(a) y = Mul(x, s)
        }""",
    )


def test_leaves_what_the_target_takes():
    assert_leaves(LowerSwish(), BEFORE, because=None, target=takes("Swish"))
    assert_rewrites(LowerSwish(), BEFORE, None, target=takes("Sigmoid", "Mul"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Swish", around.op("Abs", around.input(2, 3)), alpha=around.choose(1.0, -0.5, 2.0))

    check_surroundings(LowerSwish(), build, least_hits=0.9)
