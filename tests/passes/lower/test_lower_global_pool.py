from npuopt.passes.lower.lower_global_pool import LowerGlobalPool
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes

BEFORE = "(float[N, 3, 4, 5] x) => (float[N, 3, 1, 1] y) {y = GlobalAveragePool(x)}"


def test_becomes_a_reduction():
    assert_rewrites(
        LowerGlobalPool(),
        BEFORE,
        """(float[N, 3, 4, 5] x) => (float[N, 3, 1, 1] y) <int64[2] axes = {2, 3}> {
            y = ReduceMean<keepdims = 1>(x, axes)
        }""",
    )


def test_leaves_what_the_target_takes():
    assert_leaves(LowerGlobalPool(), BEFORE, because=None, target=takes("GlobalAveragePool"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, *around.choose((4,), (4, 2), (2, 3, 2))))
        around.op(around.choose("GlobalAveragePool", "GlobalMaxPool"), x)

    check_surroundings(LowerGlobalPool(), build, least_hits=0.9)
