import numpy as np
import pytest

from npuopt.passes.lower.lower_group_query_attention import LowerGroupQueryAttention
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'
TURNS, SINES = (", ".join(f"{value:.6f}" for value in turn(np.arange(128) / 3)) for turn in (np.cos, np.sin))
CACHES = f"float[16, 8] cos = {{{TURNS}}}, float[16, 8] sin = {{{SINES}}}"


def attention(*, batch=1, queries=3, past=0, total=None, attributes="", more="", inputs="", constants="", packed=False):
    """Return a node of 4 heads of 16 in 2 groups, with `total` keys in a cache that has room for `past`, or grows."""
    length = max(past, total or past + queries)
    total = total or length
    sources = f"float[{batch}, {queries}, 128] q" if packed else ", ".join(
        f"float[{batch}, {queries}, {width}] {name}" for name, width in (("q", 64), ("k", 32), ("v", 32))
    )  # fmt: skip
    if past:
        sources += f", float[{batch}, 2, {past}, 16] pk, float[{batch}, 2, {past}, 16] pv"
    cache = f"float[{batch}, 2, {length}, 16]"
    operands = f"{'q, , ' if packed else 'q, k, v'}, {'pk, pv' if past else ','}, n, t{inputs}"
    return f"""{HEADER} ({sources}, int32[{batch}] n{more}) => (float[{batch}, {queries}, 64] y, {cache} a, {cache} b)
        <int32[1] t = {{{total}}}{constants}>
        {{y, a, b = com.microsoft.GroupQueryAttention<num_heads = 4, kv_num_heads = 2{attributes}>({operands})}}"""


def lengths(*numbers):
    return {"n": np.array(numbers, np.int32)}


def test_a_cache_that_grows():
    text = attention(past=5)
    assert_rewrites(
        LowerGroupQueryAttention(assume_full=True),
        text,
        text[: text.index(">\n        {y")]
        + """, int64[4] s = {1, 3, 4, 16}, int64[4] g = {1, 3, 2, 16}, int64[4] h = {1, 3, 2, 16},
            int64[3] whole = {1, 3, 64}> {
            q1 = Reshape(q, s) q2 = Transpose<perm = [0, 2, 1, 3]>(q1)
            k1 = Reshape(k, g) k2 = Transpose<perm = [0, 2, 1, 3]>(k1)
            v1 = Reshape(v, h) v2 = Transpose<perm = [0, 2, 1, 3]>(v1)
            y1, a, b = Attention<is_causal = 1>(q2, k2, v2, , pk, pv)
            y2 = Transpose<perm = [0, 2, 1, 3]>(y1) y = Reshape(y2, whole)
        }""",
        feeds=lengths(7),
        tolerance=1e-5,
    )


def test_lengths_that_are_known_to_fill_it():
    text = attention(past=5).replace(", int32[1] n)", ")").replace("<int32[1] t", "<int32[1] n = {7}, int32[1] t")
    report = assert_rewrites(LowerGroupQueryAttention(), text, None, tolerance=1e-5)
    assert "TensorScatter" not in report.changed[0].text


ROTATES = {"attributes": ", do_rotary = 1", "inputs": ", cos, sin", "constants": f", {CACHES}"}


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        ({}, (2,)),
        ({"packed": True}, (2,)),
        ({"batch": 2}, (2, 2)),
        ({"past": 5, **ROTATES}, (7,)),
        ({"past": 5, **ROTATES, "attributes": ", do_rotary = 1, rotary_interleaved = 1, scale = 0.3"}, (7,)),
        ({"past": 9, "total": 7}, (6,)),
        ({"past": 9, "total": 3, **ROTATES}, (2,)),
        ({"past": 9, "total": 7, **ROTATES}, (6,)),
        ({"past": 9, "total": 8, "queries": 1, "batch": 2, **ROTATES}, (7, 4)),
        ({"past": 4, "queries": 1, "batch": 2, **ROTATES}, (2, 4)),
        ({"past": 9, "queries": 2, "attributes": ", local_window_size = 3"}, (5,)),
        ({"attributes": ", softcap = 2.0"}, (2,)),
        ({"past": 5, "attributes": ", local_window_size = 2"}, (7,)),
        ({"past": 9, "total": 7, "attributes": ", local_window_size = 3"}, (6,)),
        ({"past": 5, "more": ", float[1, 4, 3, 8] w", "inputs": ", , , , w"}, (7,)),
    ],
)
def test_prompts_and_buffers_rotation_and_windows(options, ends):
    assert_rewrites(LowerGroupQueryAttention(), attention(**options), None, feeds=lengths(*ends), tolerance=1e-4)


def test_an_addend_for_places_in_a_buffer():
    text = attention(past=9, total=9, more=", float[1, 1, 3, 9] w", inputs=", , , , w")
    assert_rewrites(LowerGroupQueryAttention(), text, None, feeds=lengths(8), tolerance=1e-4)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (attention().replace("3, 64] q", "S, 64] q"), "queries is not static"),
        (attention(past=5).replace("1, 2, 5, 16] pk", "1, 2, P, 16] pk"), "not static"),
        (attention(past=5, total=6), "its present has 6 places"),
        (attention(attributes=", smooth_softmax = 1"), "is smooth"),
        (attention(inputs=", , , , , s", more=", float[4] s"), "sinks"),
        (attention(past=5, inputs=", , , , w", more=", float[1, 1, 3, M] w"), "not known to be of 8 keys"),
        (attention(attributes=", do_rotary = 1", inputs=", u, s", more=", float[M, 8] u, float[M, 8] s"), "cosines"),
    ],
)
def test_leaves_other_forms(text, because):
    assert_leaves(LowerGroupQueryAttention(), text, because=because)


def test_a_present_of_unknown_length_stays():
    text = attention(past=5).replace("<int32[1] t = {8}>", "").replace("] n)", "] n, int32[1] t)")
    text = text.replace("2, 8, 16] a", "2, T, 16] a").replace("2, 8, 16] b", "2, T, 16] b")
    assert_leaves(LowerGroupQueryAttention(), text, because="the length of its present is not known")
    unseen = attention(past=5).replace("y, a, b =", "y =").replace(", float[1, 2, 8, 16] a, float[1, 2, 8, 16] b", "")
    assert_leaves(LowerGroupQueryAttention(), unseen, because="its past does not go on")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        past, queries = around.choose(4, 6), around.choose(1, 2)
        query, key, value = (around.op("Neg", around.input(1, queries, width)) for width in (32, 16, 16))
        caches = [around.op("Abs", around.input(1, 2, past, 8)) for _ in range(2)]
        total = around.constant(np.array([past + queries], np.int32), varies=False)
        last = around.constant(np.array([past + queries - 1], np.int32), varies=False)
        made, *present = around.ops(
            "GroupQueryAttention", query, key, value, *caches, last, total, outputs=3, domain="com.microsoft",
            company=False, num_heads=4, kv_num_heads=2,
        )  # fmt: skip
        around.op("Abs", around.declare(made, 1, queries, 32))
        for value in present:
            around.op("Abs", around.declare(value, 1, 2, past + queries, 8))

    check_surroundings(LowerGroupQueryAttention(), build, least_hits=0.9, tolerance=1e-4)
