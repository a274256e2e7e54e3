import pytest

from npuopt.passes.lower.lower_pool_ceiling import LowerPoolCeiling
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = """(float[1, 2, 6] x) => (float[1, 2, 3] y) {
    y = AveragePool<kernel_shape = [3], strides = [2], ceil_mode = 1>(x)
}"""


def test_the_last_window_gets_its_padding():
    after = BEFORE.replace("ceil_mode = 1", "pads = [0, 1]")
    assert_rewrites(LowerPoolCeiling(), BEFORE, after)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("pads", ["[0, 0, 0, 0]", "[1, 1, 1, 1]", "[2, 0, 0, 1]"])
def test_padding_that_was_there_before(op, pads):
    text = f"""(float[1, 2, 9, 10] x) => (float[1, 2, H, W] y) {{
        y = {op}<kernel_shape = [3, 4], strides = [2, 3], pads = {pads}, ceil_mode = 1>(x)
    }}"""
    assert_rewrites(LowerPoolCeiling(), text, None)


def test_leaves_floors_and_counted_padding():
    assert_leaves(
        LowerPoolCeiling(), BEFORE.replace("ceil_mode = 1", "ceil_mode = 0").replace("2, 3] y", "2, 2] y"), because=None
    )
    assert_leaves(
        LowerPoolCeiling(), BEFORE.replace("ceil", "count_include_pad = 1, ceil"), because="it counts padding"
    )
    assert_leaves(LowerPoolCeiling(), BEFORE.replace("float[1, 2, 6]", "float[N, 2, 6]"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, around.choose(7, 8, 9), 10))
        op = around.choose("MaxPool", "AveragePool")
        around.op(
            op, x, kernel_shape=[3, 3], strides=[2, 3], pads=around.choose([0, 0, 0, 0], [1, 1, 0, 1]), ceil_mode=1
        )

    check_surroundings(LowerPoolCeiling(), build, least_hits=0.9)
