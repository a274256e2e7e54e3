import numpy as np
import pytest

from npuopt.passes.fuse.fuse_l2_normalization import FuseL2Normalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = "<int64[1] axes = {-1}, float least = {1e-12}, float two = {2}, int64[3] shape = {2, 3, 4}>"
SIGNATURE = f"(float[2, 3, 4] x) => (float[2, 3, 4] y) {CONSTANTS}"
AFTER = f"{SIGNATURE} {{y = LpNormalization<axis = 2, p = 2>(x)}}"
ZEROS = {
    "x": np.array([[[0, 0, 0, 0], [1, 2, 2, 0], [-3, 4, 0, 0]], [[1e-3, 0, 0, 0], [9, 9, 9, 9], [-0.0, 0, 0, 0]]], "f")
}


@pytest.mark.parametrize(
    "formula",
    [
        "l = ReduceL2(x, axes) b = Clip(l, least) e = Expand(b, shape) y = Div(x, e)",
        "l = ReduceL2(x, axes) b = Max(least, l) y = Div(x, b)",
        "s = Mul(x, x) t = ReduceSum(s, axes) l = Sqrt(t) b = Max(l, least) y = Div(x, b)",
        "s = Pow(x, two) t = ReduceSum(s, axes) l = Sqrt(t) b = Max(l, least) y = Div(x, b)",
        "t = ReduceSumSquare(x, axes) l = Sqrt(t) b = Max(l, least) y = Div(x, b)",
    ],
)
def test_the_usual_spellings(formula):
    assert_rewrites(FuseL2Normalization(), f"{SIGNATURE} {{{formula}}}", AFTER)
    assert_rewrites(FuseL2Normalization(), f"{SIGNATURE} {{{formula}}}", AFTER, feeds=ZEROS)


BEFORE = f"{SIGNATURE} {{l = ReduceL2(x, axes) b = Max(l, least) y = Div(x, b)}}"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("4] y)", "4] y, float[2, 3, 1] l)"), "'l' is a graph output"),
        (BEFORE.replace("1e-12", "1e-3"), "bounded by 0.001"),
        (BEFORE.replace("int64[1] axes = {-1}", "int64[2] axes = {1, 2}"), "not along one axis"),
        (BEFORE.replace("float[", "float16["), None),
        (BEFORE.replace("Max(l, least)", "Neg(l)"), None),
        (BEFORE.replace("[2, 3, 4] y", "[1, 2, 3, 4] y").replace("float least", "float[1, 1, 1, 1] least"),
         "may stretch 'x'"),
    ],
)  # fmt: skip
def test_leaves_other_lengths(text, because):
    if "float16" in text:
        text = text.replace("float least = {1e-12}", "float16 least = {1}").replace("float two", "float16 two")
        because = "computes in FLOAT16"
    assert_leaves(FuseL2Normalization(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 2))
        axes = around.constant(np.array(around.choose([1], [-1], [0], [0, 1])), varies=False)
        lonely = around.choose(True, False, False)
        length = around.op("ReduceL2", x, axes, keepdims=1, company=lonely)
        least = around.constant(np.array(around.choose(1e-12, 1e-12, 0.5), "f").reshape(around.choose((), (1,))))
        around.op("Div", x, around.op("Max", length, least, company=lonely))

    check_surroundings(FuseL2Normalization(), build, examples=60, least_hits=0.15)
