import numpy as np
import pytest

from npuopt.passes.lower.lower_pad import LowerPad
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[2, 3] x) => (float[2, 6] y) <int64[4] p = {0, 1, 0, 2}, float v = {5}> {y = Pad(x, p, v)}"


def test_becomes_a_join_with_constants():
    after = """(float[2, 3] x) => (float[2, 6] y) <int64[4] p = {0, 1, 0, 2}, float v = {5}, float[2, 1] a = {5, 5},
        float[2, 2] b = {5, 5, 5, 5}> {y = Concat<axis = 1>(a, x, b)}"""
    assert_rewrites(LowerPad(), BEFORE, after)


@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
@pytest.mark.parametrize("pads", ["0, 2, 1, 2", "1, 0, 0, 1", "0, 0, 1, 2"])
def test_what_is_repeated_is_gathered(mode, pads):
    text = f"""(float[2, 3] x) => (float[A, B] y) <int64[4] p = {{{pads}}}> {{y = Pad<mode = "{mode}">(x, p)}}"""
    assert_rewrites(LowerPad(), text, None, tolerance=0)


def test_negative_padding_axes_and_other_types():
    text = """(int32[2, 5, 3] x) => (int32[A, B, C] y)
    <int64[4] p = {-1, 1, 2, -2}, int64[2] a = {1, -1}, int32 v = {7}>
    {
        y = Pad(x, p, v, a)
    }"""
    assert_rewrites(LowerPad(), text, None)
    nothing = BEFORE.replace("{0, 1, 0, 2}", "{0, 0, 0, 0}").replace("[2, 6]", "[2, 3]")
    assert_rewrites(LowerPad(), nothing, None)


def test_leaves_what_is_not_known():
    runtime = BEFORE.replace("[2, 3] x", "[2, 3] x, int64[4] p").replace("int64[4] p = {0, 1, 0, 2}, ", "")
    assert_leaves(LowerPad(), runtime.replace("[2, 6] y", "[A, B] y"), because="not constant")
    edge = BEFORE.replace("Pad(", 'Pad<mode = "edge">(').replace("{0, 1, 0, 2}", "{0, -1, 0, 4}")
    assert_leaves(LowerPad(), edge, because="negative padding in mode edge")
    assert_leaves(LowerPad(), BEFORE.replace("float[2, ", "float[N, "), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(3, 4))
        mode = around.choose("constant", "edge", "reflect", "wrap")
        around.op("Pad", x, around.constant(np.array(around.choose([1, 0, 0, 2], [2, 1, 1, 3]))), mode=mode)

    check_surroundings(LowerPad(), build, least_hits=0.4, tolerance=0)
