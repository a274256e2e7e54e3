from npuopt.passes.lower.lower_softsign import LowerSoftsign
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = Softsign(x)}"


def test_becomes_a_quotient():
    assert_rewrites(
        LowerSoftsign(),
        BEFORE,
        "(float[N, 4] x) => (float[N, 4] y) <float one = {1}> {a = Abs(x) b = Add(a, one) y = Div(x, b)}",
    )


def test_leaves_what_the_target_takes():
    assert_leaves(LowerSoftsign(), BEFORE, because=None, target=takes("Softsign"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Softsign", around.op("Neg", around.input(2, 3)))

    check_surroundings(LowerSoftsign(), build, least_hits=0.9)
