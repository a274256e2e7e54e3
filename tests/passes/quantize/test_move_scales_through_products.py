"""Factors that one operand of a product takes and the other gives back."""

import numpy as np
import pytest

from npuopt.passes.quantize.move_channel_scales import MoveChannelScales
from support.rewrites import assert_leaves, assert_rewrites

SCORES = """(float[3,2] x, float[4,2] z) => (float[3,4] y) <float[2,2] wq = {{{q}}}, float[2] bq = {{{bq}}},
    float[2,2] wk = {{{k}}}, float[2] bk = {{{bk}}}>
    {{a = MatMul(x, wq) q = Add(a, bq) b = MatMul(z, wk) k = Add(b, bk) t = Transpose<perm=[1,0]>(k)
    y = MatMul(q, t)}}"""


def literal(*shape, seed=0):
    return ",".join(f"{number:.3f}" for number in np.random.default_rng(seed).normal(size=shape).ravel())


def test_from_keys_to_queries_biases_included():
    assert_rewrites(
        MoveChannelScales({"a": (0.5, 4.0), "b": (2.0, 0.25)}),
        SCORES.format(q="1,2,3,4", bq="1,1", k="4,1,8,2", bk="2,1"),
        SCORES.format(q="2,0.5,6,1", bq="2,0.25", k="2,4,4,8", bk="1,4"),
        tolerance=0,
    )


@pytest.mark.parametrize(
    "scales",
    [{"b": (2.0, 0.25)}, {"a": (0.5, 4.0)}, {"a": (0.5, 4.0), "b": (2.0, 1.0)}, {"a": (2.0, 2.0), "b": (2, 2)}],
)
def test_left_alone_where_the_two_sides_do_not_cancel(scales):
    text = SCORES.format(q="1,2,3,4", bq="1,1", k="4,1,8,2", bk="2,1")
    assert_leaves(MoveChannelScales(scales), text, because="its factors do not cancel in")


def test_left_alone_where_keys_leave_the_graph():
    text = SCORES.format(q="1,2,3,4", bq="1,1", k="4,1,8,2", bk="2,1").replace("=> (", "=> (float[4,2] k, ")
    scales = {"a": (0.5, 4.0), "b": (2.0, 0.25)}
    report = assert_leaves(MoveChannelScales(scales), text, because="k is a graph output")
    assert "do not cancel" in {entry.node: entry.text for entry in report.declined}["a"], "queries stay with their keys"


TWICE = f"""(float[3,4] x) => (float[3,3] y, float[3,3] z) <float[4,2] wp = {{{literal(4, 2)}}},
    float[4,2] wq = {{{literal(4, 2, seed=1)}}}, float[4,2] wk = {{{literal(4, 2, seed=2)}}}>
    {{p = MatMul(x, wp) q = MatMul(x, wq) k = MatMul(x, wk) t = Transpose<perm=[1,0]>(k)
    y = MatMul(p, t) z = MatMul(q, t)}}"""


def test_keys_that_are_read_twice_need_both_readers():
    both = {"p": (2.0, 0.5), "q": (2.0, 0.5), "k": (0.5, 2.0)}
    assert len(assert_rewrites(MoveChannelScales(both), TWICE, None).changed) == 3
    one = {"q": (2.0, 0.5), "k": (0.5, 2.0)}
    assert_leaves(MoveChannelScales(one), TWICE, because="its factors do not cancel in")


ROTARY = f"""(float[1,3,8] x, float[3,2] cos, float[3,2] sin) => (float[1,2,3,3] y) <
    float[8,8] wq = {{{literal(8, 8)}}}, float[8,8] wk = {{{literal(8, 8, seed=1)}}},
    int64[4] heads = {{1,3,2,4}}, int64[2] at = {{0,2}}, int64[1] batch = {{0}}>
    {{c = Unsqueeze(cos, batch) s = Unsqueeze(sin, batch) q = MatMul(x, wq) k = MatMul(x, wk)
    qh = Reshape(q, heads) kh = Reshape(k, heads) qt = Transpose<perm=[0,2,1,3]>(qh) kt = Transpose<perm=[0,2,1,3]>(kh)
    qr = RotaryEmbedding<interleaved=HOW>(qt, c, s) kr = RotaryEmbedding<interleaved=HOW>(kt, c, s)
    across = Transpose<perm=[0,1,3,2]>(kr) y = MatMul(qr, across)}}"""


@pytest.mark.parametrize(
    ("how", "fits", "breaks"), [("0", (2, 3, 2, 3), (2, 2, 3, 3)), ("1", (2, 2, 3, 3), (2, 3, 2, 3))]
)
def test_through_a_rotary_embedding_in_pairs(how, fits, breaks):
    text = ROTARY.replace("HOW", how)
    factors = np.array([*fits, 1, 1, 1, 1], float)
    assert len(assert_rewrites(MoveChannelScales({"k": factors, "q": 1 / factors}), text, None).changed) == 2
    factors = np.array([*breaks, 1, 1, 1, 1], float)
    assert_leaves(MoveChannelScales({"k": factors, "q": 1 / factors}), text, because="channels are added that have")


APART = f"""(float[3,4] x) => (float[3,3] y) <float[4,4] wq = {{{literal(4, 4)}}},
    float[4,4] wk = {{{literal(4, 4, seed=1)}}}, float[3,4] cos = {{{literal(3, 4, seed=2)}}},
    float[3,4] sin = {{{literal(3, 4, seed=3)}}}, int64[2] at = {{2,2}}>
    {{q = MatMul(x, wq) k = MatMul(x, wk) a = Mul(k, cos) first, second = Split<axis=1>(k, at) less = Neg(second)
    turned = Concat<axis=1>(less, first) b = Mul(turned, sin) r = Add(a, b) t = Transpose<perm=[1,0]>(r)
    y = MatMul(q, t)}}"""


def test_through_a_rotary_embedding_that_was_taken_apart():
    factors = np.array((2.0, 0.5, 2.0, 0.5))
    assert len(assert_rewrites(MoveChannelScales({"k": factors, "q": 1 / factors}), APART, None).changed) == 2
    factors = np.array((2.0, 2.0, 0.5, 0.5))
    assert_leaves(MoveChannelScales({"k": factors, "q": 1 / factors}), APART, because="channels are added that have")


def test_one_key_head_for_several_query_heads():
    text = f"""(float[1,3,8] x) => (float[1,4,3,3] y) <float[8,8] wq = {{{literal(8, 8)}}},
        float[8,4] wk = {{{literal(8, 4, seed=1)}}}, int64[4] queries = {{1,3,4,2}}, int64[5] keys = {{1,3,2,1,2}},
        int64[5] more = {{1,3,2,2,2}}>
        {{q = MatMul(x, wq) k = MatMul(x, wk) qh = Reshape(q, queries) qt = Transpose<perm=[0,2,1,3]>(qh)
        kh = Reshape(k, keys) wide = Expand(kh, more) each = Reshape(wide, queries)
        kt = Transpose<perm=[0,2,3,1]>(each) y = MatMul(qt, kt)}}"""
    keys = np.array((2.0, 4.0, 0.5, 1.0))
    queries = 1 / keys.reshape(2, 1, 2).repeat(2, axis=1).reshape(-1)
    assert_rewrites(MoveChannelScales({"k": keys, "q": queries}), text, None)
    assert_leaves(MoveChannelScales({"k": keys, "q": np.roll(queries, 2)}), text, because="do not cancel")


FUSED = f"""(float[3,4] x) => (float[3,4] y) <float[4,6] w = {{{literal(4, 6)}}}, float[6] b = {{{literal(6, seed=1)}}},
    float[2,4] o = {{{literal(2, 4, seed=2)}}}, int64[3] at = {{2,2,2}}>
    {{h = MatMul(x, w) m = Add(h, b) q, k, v = Split<axis=1>(m, at) t = Transpose<perm=[1,0]>(k) s = MatMul(q, t)
    p = Softmax(s) mixed = MatMul(p, v) y = MatMul(mixed, o)}}"""


def test_within_one_layer_that_makes_queries_keys_and_values():
    report = assert_rewrites(MoveChannelScales({"h": (0.5, 4.0, 2.0, 0.25, 3.0, 7.0)}), FUSED, None)
    assert "factors 0.25 to 7 into 3 readers" in report.changed[0].text
    assert_leaves(MoveChannelScales({"h": (0.5, 4.0, 2.0, 0.5, 3.0, 7.0)}), FUSED, because="do not cancel")


def test_normalized_queries_and_keys_with_one_scale_in_common():
    text = f"""(float[2,3,4] x, float[2,3,4] z) => (float[2,3,3] y) <float[4] g = {{{literal(4)}}}>
        {{q = RMSNormalization<axis=-1>(x, g) k = RMSNormalization<axis=-1>(z, g) t = Transpose<perm=[0,2,1]>(k)
        y = MatMul(q, t)}}"""
    factors = np.array((2.0, 0.5, 4.0, 1.0))
    report = assert_rewrites(MoveChannelScales({"k": factors, "q": 1 / factors}), text, None)
    assert len(report.changed) == 2, "the short scale is copied"
