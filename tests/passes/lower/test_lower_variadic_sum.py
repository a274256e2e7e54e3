from npuopt.passes.lower.lower_variadic_sum import LowerVariadicSum
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] a, float[4] b, float[N, 1] c) => (float[N, 4] y) {y = Sum(a, b, c)}"


def test_becomes_a_chain_of_sums():
    assert_rewrites(LowerVariadicSum(), BEFORE, BEFORE.replace("y = Sum(a, b, c)", "d = Add(a, b) y = Add(d, c)"))


def test_a_mean_is_divided():
    after = "(float[4] a, float[4] b) => (float[4] y) <float half = {0.5}> {d = Add(a, b) y = Mul(d, half)}"
    assert_rewrites(LowerVariadicSum(), "(float[4] a, float[4] b) => (float[4] y) {y = Mean(a, b)}", after)


def test_one_tensor_is_itself():
    text = "(float[4] a) => (float[4] y) {y = Mean(a)}"
    assert_rewrites(LowerVariadicSum(), text, text.replace("Mean", "Identity"))


def test_leaves_what_the_target_takes():
    assert_leaves(LowerVariadicSum(), BEFORE, because=None, target=takes("Sum"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        values = [around.op("Neg", around.input(*around.choose((2, 3), (3,), (2, 1)))) for _ in range(3)]
        around.op(around.choose("Sum", "Mean"), *values[: around.choose(1, 2, 3)])

    check_surroundings(LowerVariadicSum(), build, least_hits=0.9)
