import numpy as np
import pytest

from npuopt.passes.lower.lower_attention import LowerAttention
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

QKV = "float[2, 3, 4, 16] q, float[2, 3, 5, 16] k, float[2, 3, 5, 6] v"
SIGNATURE = f"({QKV}) => (float[2, 3, 4, 6] y)"


def test_becomes_two_products_around_a_softmax():
    assert_rewrites(
        LowerAttention(),
        f"{SIGNATURE} {{y = Attention(q, k, v)}}",
        f"""{SIGNATURE} <float scale = {{0.25}}> {{
            s = Mul(q, scale) t = Transpose<perm = [0, 1, 3, 2]>(k) a = MatMul(s, t) w = Softmax<axis = -1>(a)
            y = MatMul(w, v)
        }}""",
    )


def test_grouped_queries_go_side_by_side():
    signature = "(float[1, 6, 4, 16] q, float[1, 2, 5, 16] k, float[1, 2, 5, 8] v) => (float[1, 6, 4, 8] y)"
    assert_rewrites(
        LowerAttention(),
        f"{signature} {{y = Attention(q, k, v)}}",
        f"""{signature} <float scale = {{0.25}}, int64[4] rows = {{1, 2, 12, 16}}, int64[4] heads = {{1, 6, 4, 5}},
            int64[4] back = {{1, 2, 12, 5}}, int64[4] whole = {{1, 6, 4, 8}}> {{
            m = Mul(q, scale) s = Reshape(m, rows) t = Transpose<perm = [0, 1, 3, 2]>(k) a = MatMul(s, t)
            b = Reshape(a, heads) w = Softmax<axis = -1>(b) c = Reshape(w, back) d = MatMul(c, v)
            y = Reshape(d, whole)
        }}""",
    )


@pytest.mark.parametrize(
    "mask", ["float[4, 5] m", "float[2, 1, 4, 5] m", "bool[2, 1, 4, 5] m", "bool[3, 4, 5] m", "bool[2, 3, 4, 5] m"]
)
@pytest.mark.parametrize("causal", [0, 1])
def test_masks(mask, causal):
    text = f"({QKV}, {mask}) => (float[2, 3, 4, 6] y) {{y = Attention<is_causal = {causal}>(q, k, v, m)}}"
    assert_rewrites(LowerAttention(), text, None)


def test_a_query_that_sees_no_key_gives_zero():
    text = f"({QKV}, bool[4, 5] m) => (float[2, 3, 4, 6] y) {{y = Attention(q, k, v, m)}}"
    mask = np.ones((4, 5), dtype=np.bool_)
    mask[1] = False
    assert_rewrites(LowerAttention(), text, None, feeds={"m": mask})


@pytest.mark.parametrize("attributes", ["is_causal = 1", "softcap = 2.0", "scale = 0.1", "softmax_precision = 11"])
def test_past_keys_and_options(attributes):
    text = f"""({QKV}, float[2, 3, 7, 16] pk, float[2, 3, 7, 6] pv)
        => (float[2, 3, 4, 6] y, float[2, 3, 12, 16] nk, float[2, 3, 12, 6] nv) {{
        y, nk, nv = Attention<{attributes}>(q, k, v, , pk, pv)
    }}"""
    assert_rewrites(LowerAttention(), text, None)


def test_heads_side_by_side_in_the_last_axis():
    text = """(float[2, 4, 48] q, float[2, 5, 16] k, float[2, 5, 12] v) => (float[2, 4, 36] y) {
        y = Attention<q_num_heads = 6, kv_num_heads = 2>(q, k, v)
    }"""
    assert_rewrites(LowerAttention(), text, None)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (f"{SIGNATURE} {{y = Attention(q, k, v)}}".replace("[2,", "[N,"), "not static"),
        (
            f"({QKV}) => (float[2, 3, 4, 6] y, float[2, 3, 4, 5] a) {{y, , , a = Attention(q, k, v)}}",
            "scores are read",
        ),
        (
            f"({QKV}, int64[2] n) => (float[2, 3, 4, 6] y) {{y = Attention(q, k, v, , , , n)}}",
            "lengths of its cache",
        ),
        (f"({QKV}, bool[4, 3] m) => (float[2, 3, 4, 6] y) {{y = Attention(q, k, v, m)}}", "does not cover the 5 keys"),
        (
            f"({QKV}) => (float[2, 3, 4, 6] y) {{y = Attention(q, k, v)}}".replace(
                "float[2, 3, 5, 6]", "float16[2, 3, 5, 6]"
            ),
            "different types",
        ),
    ],
)
def test_leaves_what_it_does_not_cover(text, because):
    assert_leaves(LowerAttention(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        query_heads, heads = around.choose((4, 4), (4, 2), (4, 1))
        query = around.op("Neg", around.input(2, query_heads, 3, 8))
        key, value = (around.op("Neg", around.input(2, heads, 5, 8)) for _ in range(2))
        mask = np.random.default_rng(0).random((3, 5)) < 0.7
        masks = [around.constant(mask if around.choose(True, False) else np.where(mask, 0, -9).astype("f"))]
        around.op("Attention", query, key, value, *masks, is_causal=around.choose(0, 1))

    check_surroundings(LowerAttention(), build, least_hits=0.9)
