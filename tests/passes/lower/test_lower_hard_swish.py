from npuopt.passes.lower.lower_hard_swish import LowerHardSwish
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = HardSwish(x)}"


def test_becomes_a_hard_sigmoid_gate():
    assert_rewrites(
        LowerHardSwish(),
        BEFORE,
        """(float[N, 4] x) => (float[N, 4] y) {
            s = HardSigmoid<alpha = 0.166666671633720397949, beta = 0.5>(x) y = Mul(x, s)
        }""",
    )


def test_leaves_what_the_target_takes():
    assert_leaves(LowerHardSwish(), BEFORE, because=None, target=takes("HardSwish"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("HardSwish", around.op("Neg", around.input(2, 3)))

    check_surroundings(LowerHardSwish(), build, least_hits=0.9)
