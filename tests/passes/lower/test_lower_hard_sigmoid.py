from npuopt.passes.lower.lower_hard_sigmoid import LowerHardSigmoid
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = HardSigmoid<alpha = 0.25>(x)}"


def test_becomes_a_clipped_line():
    assert_rewrites(
        LowerHardSigmoid(),
        BEFORE,
        """(float[N, 4] x) => (float[N, 4] y)
        <float slope = {0.25}, float half = {0.5}, float zero = {0}, float one = {1}> {
            a = Mul(x, slope) b = Add(a, half) y = Clip(b, zero, one)
        }""",
    )


def test_leaves_what_the_target_takes():
    assert_leaves(LowerHardSigmoid(), BEFORE, because=None, target=takes("HardSigmoid"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3))
        around.op("HardSigmoid", x, alpha=around.choose(0.2, 1 / 6), beta=around.choose(0.5, 0.0))

    check_surroundings(LowerHardSigmoid(), build, least_hits=0.9)
