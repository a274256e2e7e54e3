from npuopt.passes.lower.lower_mish import LowerMish
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = Mish(x)}"


def test_becomes_softplus_and_tanh():
    assert_rewrites(
        LowerMish(),
        BEFORE,
        "(float[N, 4] x) => (float[N, 4] y) {s = Softplus(x) t = Tanh(s) y = Mul(x, t)}",
    )


def test_leaves_what_the_target_takes():
    assert_leaves(LowerMish(), BEFORE, because=None, target=takes("Mish"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Mish", around.op("Neg", around.input(2, 3)))

    check_surroundings(LowerMish(), build, least_hits=0.9)
