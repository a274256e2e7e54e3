import numpy as np
import pytest

from npuopt.passes.fuse.fuse_reduction_reshape import FuseReductionReshape
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = "<int64[1] axes = {-1}, int64[3] kept = {2, 3, 1}, float least = {0.5}>"
SIGNATURE = f"(float[2, 3, 4] x) => (float[2, 3, 1] y) {CONSTANTS}"


@pytest.mark.parametrize("back", ["Reshape(m, kept)", "Unsqueeze(m, axes)"])
def test_a_reduction_keeps_its_axis(back):
    assert_rewrites(
        FuseReductionReshape(),
        f"{SIGNATURE} {{m = ReduceMax<keepdims = 0>(x, axes) y = {back}}}",
        f"{SIGNATURE} {{y = ReduceMax<keepdims = 1>(x, axes)}}",
    )


def test_through_what_is_computed_elementwise():
    assert_rewrites(
        FuseReductionReshape(),
        f"""{SIGNATURE} {{
            m = ReduceMean<keepdims = 0>(x, axes) s = Mul(x, x) q = ReduceMean<keepdims = 0>(s, axes)
            w = Mul(m, m) v = Sub(q, w) b = Max(least, v) y = Reshape(b, kept)
        }}""",
        f"""{SIGNATURE} {{
            m = ReduceMean<keepdims = 1>(x, axes) s = Mul(x, x) q = ReduceMean<keepdims = 1>(s, axes)
            w = Mul(m, m) v = Sub(q, w) y = Max(least, v)
        }}""",
    )


def test_what_else_reads_a_value_reads_it_squeezed():
    signature = SIGNATURE.replace("1] y)", "1] y, float[2, 3] m, float[2, 3] z)")
    assert_rewrites(
        FuseReductionReshape(),
        f"{signature} {{m = ReduceMax<keepdims = 0>(x, axes) e = Exp(m) z = Neg(e) y = Reshape(e, kept)}}",
        None,
    )


BEFORE = f"{SIGNATURE} {{m = ReduceMax<keepdims = 0>(x, axes) y = Reshape(m, kept)}}"

OTHERWISE = """m = ReduceMax<keepdims = 0>(x, axes) n = ArgMax<axis = 2, keepdims = 0>(x) c = Cast<to = 1>(n)
    s = Add(m, c) y = Reshape(s, kept)"""


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("{2, 3, 1}", "{1, 2, 3}").replace("[2, 3, 1] y", "[1, 2, 3] y"), None),
        (BEFORE.replace("= 0>", "= 1>"), None),
        (BEFORE.replace("y = Reshape(m", "w = Softmax(m) y = Reshape(w"), None),
        (f"{SIGNATURE} {{{OTHERWISE}}}", "'c' is no reduction"),
    ],
)
def test_leaves_what_does_not_come_back(text, because):
    assert_leaves(FuseReductionReshape(), text, because=because)


def test_leaves_a_reshape_back_and_forth():
    """Found by the fuzzer: nothing is reduced."""
    text = """(float[1, 2, 3] x) => (float[1, 2, 3] y, float[6] r) <int64[1] flat = {6}, int64[3] back = {1, 2, 3}> {
        a = Neg(x) f = Reshape(a, flat) r = Relu(f) y = Reshape(r, back)
    }"""
    assert_leaves(FuseReductionReshape(), text, because=None)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 2))
        axis = around.choose(1, 2)
        axes = around.constant(np.array([axis]), varies=False)
        peak = around.op(around.choose("ReduceMax", "ReduceMean"), x, axes, keepdims=0)
        total = around.op("ReduceSum", around.op("Abs", x), axes, keepdims=0)
        both = around.op(around.choose("Add", "Sub", "Mul"), peak, total)
        around.op(
            "Unsqueeze", around.op("Exp", both), around.constant(np.array([around.choose(axis, 0)]), varies=False)
        )

    check_surroundings(FuseReductionReshape(), build, examples=60, least_hits=0.3)
