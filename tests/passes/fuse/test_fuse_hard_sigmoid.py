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
