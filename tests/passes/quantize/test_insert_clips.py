import numpy as np

from npuopt.passes.quantize.insert_clips import InsertClips
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SMALL = {"x": np.array([-0.5, 0.25], np.float32)}
"""Numbers that the limits of these tests leave alone."""


def test_a_tensor_and_an_input_and_an_output():
    assert_rewrites(
        InsertClips(limits={"x": (-1.0, 1.0), "a": (-2.0, 0.5), "y": (0.0, 4.0)}),
        "(float[2] x) => (float[2] y) {a = Neg(x) y = Exp(a)}",
        """(float[2] x) => (float[2] y) <float l = {-1}, float h = {1}, float m = {-2}, float i = {0.5},
        float n = {0}, float j = {4}>
        {c = Clip(x, l, h) a = Neg(c) d = Clip(a, m, i) e = Exp(d) y = Clip(e, n, j)}""",
        feeds=SMALL,
    )


def test_leaves_what_is_limited_already():
    text = "(float[2] x) => (float[2] y) <float n = {0}> {a = Neg(x) b = Clip(a, n) y = Exp(b)}"
    limits = {"a": (0.0, 1.0), "b": (0.0, 1.0)}
    assert_leaves(InsertClips(limits=limits), text, because="limited already")


def test_leaves_constants_and_integers_and_what_is_not_there():
    text = "(float[2] x, int64 n) => (float[2] y, int64 m) <float w = {2}> {y = Mul(x, w) m = Neg(n)}"
    for name in ("w", "m", "nothing"):
        assert_leaves(InsertClips(limits={name: (0.0, 1.0)}), text, because="no float that the graph computes")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Tanh", around.op("Tanh", around.input(2, 3)))

    class EveryTanh(InsertClips):
        def __call__(self, model, target=None):
            tanhs = [node.outputs[0].name for node in model.graph if node.op_type == "Tanh"]
            return InsertClips(limits=dict.fromkeys(tanhs, (-1.0, 1.0)))(model, target)

    check_surroundings(EveryTanh(), build, tolerance=0)
