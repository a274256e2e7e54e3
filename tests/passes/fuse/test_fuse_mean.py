import numpy as np
import pytest

from npuopt.passes.fuse.fuse_mean import FuseMean
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = "<int64[2] axes = {-1, 1}, float part = {0.0833333358}, float[1] count = {12}>"
SIGNATURE = f"(float[N, 3, 4] x) => (float[N, 1, 1] y) {CONSTANTS}"
AFTER = f"{SIGNATURE} {{y = ReduceMean<keepdims = 1>(x, axes)}}"


@pytest.mark.parametrize("formula", ["y = Mul(s, part)", "y = Mul(part, s)", "y = Div(s, count)"])
def test_the_usual_spellings(formula):
    assert_rewrites(FuseMean(), f"{SIGNATURE} {{s = ReduceSum(x, axes) {formula}}}", AFTER)


def test_axes_that_go_stay_gone():
    signature = f"(float[N, 3, 4] x) => (float[N] y) {CONSTANTS}"
    assert_rewrites(
        FuseMean(),
        f"{signature} {{s = ReduceSum<keepdims = 0>(x, axes) y = Mul(s, part)}}",
        f"{signature} {{y = ReduceMean<keepdims = 0>(x, axes)}}",
    )


BEFORE = f"{SIGNATURE} {{s = ReduceSum(x, axes) y = Mul(s, part)}}"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("0.0833333358", "0.0833"), "not known to be one over the count"),
        (BEFORE.replace("0.0833333358", "0"), "not known to be one over the count"),
        (BEFORE.replace("Mul(s, part)", "Div(count, s)"), None),
        (BEFORE.replace("[N, 3, 4]", "[N, K, 4]"), "not known to be one over the count"),
        (BEFORE.replace("1, 1] y)", "1, 1] y, float[N, 1, 1] s)"), "'s' is a graph output"),
        (BEFORE.replace("float part = {0.0833333358}", "float[3] part = {1, 1, 1}").replace("1, 1] y", "1, 3] y"),
         "one over the count"),
        (BEFORE.replace("float part", "float[1, 1, 1, 1] part").replace("[N, 1, 1] y", "[a, N, 1, 1] y"), "stretches"),
        (BEFORE.replace("float", "int32").replace("0.0833333358", "1"), "of integers"),
    ],
)  # fmt: skip
def test_leaves_other_numbers(text, because):
    assert_leaves(FuseMean(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        axes = around.constant(np.array(around.choose([1], [-1], [0, 1])), varies=False)
        total = around.op("ReduceSum", around.op("Neg", around.input(2, 3, 2)), axes, keepdims=around.choose(0, 1))
        around.op("Mul", total, around.constant(np.array(around.choose(1 / 3, 0.5, 1 / 6), "f"), varies=False))

    check_surroundings(FuseMean(), build, examples=60, least_hits=0.1)
