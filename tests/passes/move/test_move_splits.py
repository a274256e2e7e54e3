import numpy as np
import pytest

from npuopt.passes.move.move_splits import MoveSplits
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[1, 4, 24] x) => (float[1, 2, 4, 4] q, float[1, 2, 4, 4] k, float[1, 2, 4, 4] v)"
PACKED = f"""{SIGNATURE} <int64[5] apart = {{1, 4, 3, 2, 4}}, int64[3] ones = {{1, 1, 1}}, int64[1] first = {{0}}> {{
    s = Reshape(x, apart) t = Transpose<perm = [2, 0, 3, 1, 4]>(s) a, b, c = Split<axis = 0>(t, ones)
    q = Squeeze(a, first) k = Squeeze(b, first) v = Squeeze(c, first)
}}"""
SHALLOW = """(float[4, 6] x) => (float[4, 3] a, float[4, 3] b) <int64[3] apart = {4, 2, 3}, int64[2] halves = {1, 1},
    int64[1] axis = {1}> {s = Reshape(x, apart) p, r = Split<axis = 1>(s, halves)
    a = Squeeze(p, axis) b = Squeeze(r, axis)}"""


def test_queries_keys_and_values_are_taken_apart_ahead_of_their_heads():
    assert_rewrites(
        MoveSplits(),
        PACKED,
        f"""{SIGNATURE} <int64[3] eights = {{8, 8, 8}}, int64[4] heads = {{1, 4, 2, 4}},
            int64[5] apart = {{1, 4, 3, 2, 4}}, int64[1] first = {{0}}, int64[3] ones = {{1, 1, 1}}> {{
            a, b, c = Split<axis = 2>(x, eights)
            s = Reshape(a, heads) q = Transpose<perm = [0, 2, 1, 3]>(s)
            t = Reshape(b, heads) k = Transpose<perm = [0, 2, 1, 3]>(t)
            u = Reshape(c, heads) v = Transpose<perm = [0, 2, 1, 3]>(u)
        }}""",
    )


def test_without_a_transpose():
    text = PACKED.replace("t = Transpose<perm = [2, 0, 3, 1, 4]>(s)", "").replace("axis = 0>(t", "axis = 2>(s")
    text = text.replace("first = {0}", "first = {2}").replace("float[1, 2, 4, 4]", "float[1, 4, 2, 4]")
    assert assert_rewrites(MoveSplits(), text, None).changed[0].text == "its 3 parts have 4 axes each"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (SHALLOW, None),
        (PACKED.replace("v)", "v, float[1, 4, 3, 2, 4] s)", 1), "read elsewhere too"),
        (PACKED.replace("v = Squeeze(c, first)", "v = ReduceSum<keepdims = 0>(c, first)"), "others than Squeezes"),
        (PACKED.replace("1, 4, 3, 2, 4", "1, 4, 2, 3, 4").replace("[2, 0, 3, 1, 4]", "[3, 0, 2, 1, 4]"), "outermost"),
        (PACKED.replace("[1, 4, 24]", "[N, 4, 24]").replace("{1, 4, 3", "{-1, 4, 3"), "not static"),
    ],
)
def test_leaves_what_gains_nothing(text, because):
    assert_leaves(MoveSplits(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        shape = around.choose((2, 2, 3, 2, 2), (1, 3, 2, 2, 2), (2, 3, 1, 2, 2))
        merged = around.choose((shape[0], shape[1], -1), (shape[0], -1, shape[4]), (-1, 2 * shape[4]))
        x = around.op("Reshape", around.input(*shape), around.constant(np.array(merged), varies=False))
        spread = around.op("Reshape", around.op("Neg", x), around.constant(np.array(shape), varies=False))
        order = around.choose([2, 0, 3, 1, 4], [1, 0, 2, 3, 4], [0, 3, 1, 4, 2])
        turned = around.op("Transpose", spread, perm=order)
        axis = order.index(around.choose(1, 2))
        length = shape[order[axis]]
        parts = around.ops("Split", turned, outputs=length, axis=axis, num_outputs=length)
        for part in parts:
            around.op("Squeeze", part, around.constant(np.array([axis]), varies=False))

    check_surroundings(MoveSplits(), build, examples=40, least_hits=0.15)
