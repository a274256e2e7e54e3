import numpy as np

from npuopt.passes.lower.lower_batch_normalization import LowerBatchNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = "<float[2] s = {2, 3}, float[2] b = {1, -1}, float[2] m = {0.5, 4}, float[2] v = {3, 15}>"
BEFORE = (
    f"(float[N, 2, 5] x) => (float[N, 2, 5] y) {CONSTANTS} {{y = BatchNormalization<epsilon = 1.0>(x, s, b, m, v)}}"
)


def test_becomes_one_product_and_one_sum():
    assert_rewrites(
        LowerBatchNormalization(),
        BEFORE,
        f"""(float[N, 2, 5] x) => (float[N, 2, 5] y) {CONSTANTS[:-1]},
        float[2, 1] slope = {{1, 0.75}}, float[2, 1] shift = {{0.5, -4}}> {{a = Mul(x, slope) y = Add(a, shift)}}""",
    )


def test_leaves_training_mode():
    text = BEFORE.replace("epsilon = 1.0", "training_mode = 1").replace("y = B", "y, n, w = B")
    assert_leaves(LowerBatchNormalization(), text, because="training mode")


def test_leaves_parameters_given_at_run_time():
    text = BEFORE.replace("(float[N, 2, 5] x)", "(float[N, 2, 5] x, float[2] s)").replace("float[2] s = {2, 3}, ", "")
    assert_leaves(LowerBatchNormalization(), text, because="not all constant")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(1)
        scale, bias, mean = (around.constant(generator.normal(size=3).astype("f")) for _ in range(3))
        variance = around.constant(np.array([1, 0.5, 3], "f"))
        x = around.op("Neg", around.input(*around.choose((2, 3), (2, 3, 4), (2, 3, 2, 2))))
        around.op("BatchNormalization", x, scale, bias, mean, variance)

    check_surroundings(LowerBatchNormalization(), build, least_hits=0.05)
