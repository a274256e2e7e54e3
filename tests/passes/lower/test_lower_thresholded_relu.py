from npuopt.passes.lower.lower_thresholded_relu import LowerThresholdedRelu
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 4] x) => (float[N, 4] y) {y = ThresholdedRelu<alpha = 0.5>(x)}"


def test_becomes_a_selection():
    assert_rewrites(
        LowerThresholdedRelu(),
        BEFORE,
        """(float[N, 4] x) => (float[N, 4] y) <float alpha = {0.5}, float zero = {0}> {
            above = Greater(x, alpha) y = Where(above, x, zero)
        }""",
    )


def test_leaves_what_the_target_takes():
    assert_leaves(LowerThresholdedRelu(), BEFORE, because=None, target=takes("ThresholdedRelu"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("ThresholdedRelu", around.op("Neg", around.input(2, 3)), alpha=around.choose(1.0, 0.0))

    check_surroundings(LowerThresholdedRelu(), build, least_hits=0.9)
