from npuopt.passes.lower.lower_selu import LowerSelu
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = Selu<alpha = 2.0, gamma = 3.0>(x)}"


def test_becomes_a_scaled_elu():
    after = """(float[N, 4] x) => (float[N, 4] y) <float gamma = {3}> {e = Elu<alpha = 2.0>(x) y = Mul(e, gamma)}"""
    assert_rewrites(LowerSelu(), BEFORE, after)


def test_leaves_what_the_target_takes():
    assert_leaves(LowerSelu(), BEFORE, because=None, target=takes("Selu"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        factors = around.choose({}, {"alpha": 1.5}, {"gamma": 0.5})
        around.op("Selu", around.op("Neg", around.input(2, 3)), **factors)

    check_surroundings(LowerSelu(), build, examples=12, least_hits=0.9)
