import numpy as np
import pytest

from npuopt.passes.fuse.fuse_hard_sigmoid import FuseHardSigmoid
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = """(float[N, 4] x) => (float[N, 4] y)
    <float three = {3}, float zero = {0}, float six = {6}, float sixth = {0.166666672}>"""
AFTER = f"{SIGNATURE} {{y = HardSigmoid<alpha = 0.166666671633720397949, beta = 0.5>(x)}}"


@pytest.mark.parametrize(
    "formula",
    [
        "a = Add(x, three) c = Clip(a, zero, six) y = Div(c, six)",
        "a = Add(three, x) c = Clip(a, zero, six) y = Mul(sixth, c)",
        "a = Add(x, three) b = Max(a, zero) c = Min(b, six) y = Div(c, six)",
        "a = Add(x, three) b = Relu(a) c = Min(six, b) y = Div(c, six)",
    ],
)
def test_a_clipped_line(formula):
    assert_rewrites(FuseHardSigmoid(), f"{SIGNATURE} {{{formula}}}", AFTER)


@pytest.mark.parametrize("clip", ["Clip(b, zero, one)", "Min(c, one)", "Max(e, zero)"])
def test_any_line_between_zero_and_one(clip):
    constants = "<float half = {0.5}, float[1] shift = {0.25}, float zero = {0}, float one = {1}>"
    signature = f"(float[N, 4] x) => (float[N, 4] y) {constants}"
    inner = {"Min": "c = Max(b, zero)", "Max": "e = Min(one, b)"}.get(clip[:3], "")
    before = f"{signature} {{a = Mul(half, x) b = Add(a, shift) {inner} y = {clip}}}"
    assert_rewrites(FuseHardSigmoid(), before, f"{signature} {{y = HardSigmoid<alpha = 0.5, beta = 0.25>(x)}}")


def test_leaves_a_line_of_several_slopes():
    text = """(float[N, 2] x) => (float[N, 2] y)
        <float[2] slopes = {1, 2}, float shift = {0.25}, float zero = {0}, float one = {1}> {
        a = Mul(slopes, x) b = Add(a, shift) y = Clip(b, zero, one)
    }"""
    assert_leaves(FuseHardSigmoid(), text, because="not a single number")


BEFORE = f"{SIGNATURE} {{a = Add(x, three) c = Clip(a, zero, six) y = Div(c, six)}}"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("six = {6}", "six = {5}"), None),
        (BEFORE.replace("Div(c, six)", "Div(six, c)"), None),
        (BEFORE.replace("[N, 4] x", "[N, 4] x, float six").replace("float six = {6}, ", ""), None),
        (BEFORE.replace("[N, 4] y", "[N, 4] y, float[N, 4] c"), "'c' is a graph output"),
    ],
)
def test_leaves_other_lines(text, because):
    assert_leaves(FuseHardSigmoid(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3))
        three, zero, six = (around.constant(np.array(number, "f")) for number in (3, 0, 6))
        around.op("Div", around.op("Clip", around.op("Add", x, three), zero, six), six)

    check_surroundings(FuseHardSigmoid(), build, examples=100, least_hits=0.1)
