from npuopt.passes.lower.lower_tanh import LowerTanh
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = Tanh(x)}"


def test_becomes_a_sigmoid():
    after = """(float[N, 4] x) => (float[N, 4] y) <float two = {2}, float one = {1}> {
        a = Mul(x, two) s = Sigmoid(a) b = Mul(s, two) y = Sub(b, one)
    }"""
    assert_rewrites(LowerTanh(), BEFORE, after)


def test_leaves_what_the_target_takes():
    assert_leaves(LowerTanh(), BEFORE, because=None, target=takes("Tanh"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Tanh", around.op("Neg", around.input(2, 3)))

    check_surroundings(LowerTanh(), build, examples=12, least_hits=0.9)
