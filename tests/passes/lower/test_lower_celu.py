from npuopt.passes.lower.lower_celu import LowerCelu
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = Celu<alpha = 2.0>(x)}"


def test_becomes_a_scaled_elu():
    assert_rewrites(
        LowerCelu(),
        BEFORE,
        """(float[N, 4] x) => (float[N, 4] y) <float half = {0.5}, float two = {2}> {
            a = Mul(x, half) b = Elu(a) y = Mul(b, two)
        }""",
    )


def test_is_elu_where_alpha_is_one():
    assert_rewrites(LowerCelu(), BEFORE.replace("2.0", "1.0"), "(float[N, 4] x) => (float[N, 4] y) {y = Elu(x)}")


def test_leaves_what_the_target_takes():
    assert_leaves(LowerCelu(), BEFORE, because=None, target=takes("Celu"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Celu", around.op("Neg", around.input(2, 3)), alpha=around.choose(1.0, 0.3, 2.5))

    check_surroundings(LowerCelu(), build, least_hits=0.9)
