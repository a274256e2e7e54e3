# no assert_rewrites: run again, the pass takes more heads, as it is asked to
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuopt.passes.tune.drop_heads import DropHeads
from support.numbers import run
from support.pruning import assert_same_numbers_after, model_with, numbers, weights_read, without
from support.rewrites import assert_leaves

DROP = DropHeads(share=0.5)
BATCH, STEPS, WIDTH, SIZE = 1, 3, 6, 2


def attention(query_heads, key_heads, *, cache=False, kind="Attention"):
    """Return the text of an attention block with heads of size 2, and its weights."""
    more, ins, outs = "", "", ""
    if cache:
        ins = f", float[1,{key_heads},4,2] pk, float[1,{key_heads},4,2] pv"
        outs = f", float[1,{key_heads},7,2] nk, float[1,{key_heads},7,2] nv"
        more = ", , pk, pv"
    outputs = "o, nk, nv" if cache else "o"
    return f"""(float[1,3,6] x{ins}) => (float[1,3,6] y{outs})
    <float[6,{query_heads * SIZE}] q, float[6,{key_heads * SIZE}] k, float[6,{key_heads * SIZE}] v,
     float[{query_heads * SIZE},6] w, int64[4] sq = {{1,3,{query_heads},2}}, int64[4] sk = {{0,0,{key_heads},-1}},
     int64[3] so = {{1,3,{query_heads * SIZE}}}>
    {{ a = MatMul(x, q) b = Reshape(a, sq) c = Transpose<perm=[0,2,1,3]>(b)
      d = MatMul(x, k) e = Reshape(d, sk) f = Transpose<perm=[0,2,1,3]>(e)
      g = MatMul(x, v) h = Reshape(g, sk) i = Transpose<perm=[0,2,1,3]>(h)
      {outputs} = {kind}(c, f, i{more})
      j = Transpose<perm=[0,2,1,3]>(o) l = Reshape(j, so) y = MatMul(l, w) }}"""


def weights(query_heads, key_heads, gone, seed=0):
    each = query_heads // key_heads
    return {
        "q": without(numbers(seed, 6, query_heads * SIZE), 1, gone, each * SIZE),
        "k": without(numbers(seed + 1, 6, key_heads * SIZE), 1, gone, SIZE),
        "v": without(numbers(seed + 2, 6, key_heads * SIZE), 1, gone, SIZE),
        "w": without(numbers(seed + 3, query_heads * SIZE, 6), 0, gone, each * SIZE),
    }


def test_heads_go_with_their_columns_and_rows():
    model = model_with(attention(4, 4), **weights(4, 4, [0, 2]))
    report = assert_same_numbers_after(DROP, model)
    assert weights_read(model, "MatMul") == [(6, 4), (6, 4), (6, 4), (4, 6)]
    assert "4 heads -> 2" in report.changed[0].text


def test_heads_of_queries_go_with_the_keys_they_share():
    model = model_with(attention(4, 2), **weights(4, 2, [1]))
    assert_same_numbers_after(DROP, model)
    assert weights_read(model, "MatMul") == [(6, 4), (6, 2), (6, 2), (4, 6)]


def test_a_cache_loses_the_heads_too():
    model = model_with(attention(4, 2, cache=True), **weights(4, 2, [0]))
    feeds = {"x": numbers(9, 1, 3, 6), "pk": numbers(10, 1, 2, 4, 2), "pv": numbers(11, 1, 2, 4, 2)}
    expected = run(model, feeds)
    report = DROP(model)
    assert report.changed
    got = run(model, {"x": feeds["x"], "pk": feeds["pk"][:, 1:], "pv": feeds["pv"][:, 1:]})
    np.testing.assert_allclose(got["y"], expected["y"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got["nk"], expected["nk"][:, 1:], rtol=1e-5)


def test_left_alone_where_heads_are_mixed():
    text = attention(4, 4).replace("y = MatMul(l, w)", "s = Softmax(l) y = MatMul(s, w)")
    assert_leaves(DROP, model_with(text, **weights(4, 4, [0, 2])), because="mixes them")


def test_left_alone_without_an_axis_of_heads():
    text = """(float[1,3,4] q, float[1,3,4] k, float[1,3,4] v) => (float[1,3,4] y)
    { y = Attention<q_num_heads=2, kv_num_heads=2>(q, k, v) }"""
    assert_leaves(DROP, text, because="no axis of their own")


@settings(max_examples=20, deadline=None)
@given(keys=st.sampled_from([2, 4]), each=st.sampled_from([1, 2]), seed=st.integers(0, 99), data=st.data())
def test_heads_that_carry_nothing_can_always_go(keys, each, seed, data):
    gone = data.draw(st.sets(st.integers(0, keys - 1), min_size=keys // 2, max_size=keys // 2))
    model = model_with(attention(keys * each, keys), **weights(keys * each, keys, gone, seed))
    assert assert_same_numbers_after(DROP, model).changed


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_a_share_of_less_than_one_head_takes_none(share):
    assert_leaves(DropHeads(share=share), model_with(attention(4, 4), **weights(4, 4, [])), because=None)
