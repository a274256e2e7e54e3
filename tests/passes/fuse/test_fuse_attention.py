import math

import numpy as np
import pytest

from npuopt.passes.fuse.fuse_attention import FuseAttention
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """<float scale = {0.25}, float root = {0.5}, float four = {4}, float cap = {2}, float low = {-1e9},
    float zero = {0}, float minus_infinity = {-inf}, float lowest = {-3.4028235e38},
    int64[1] middle = {2}, int64[5] groups = {1, 1, 3, 1, 1}, int64[4] joined = {0, 6, -1, 4}>"""
PLAIN = f"(float[N, 2, 3, 4] q, float[N, 2, 5, 4] k, float[N, 2, 5, 6] v) => (float[N, 2, 3, 6] y) {CONSTANTS}"
MASKED = PLAIN.replace("6] v)", "6] v, float[N, 1, 3, 5] mask)")
CHOSEN = MASKED.replace("float[N, 1, 3, 5] mask", "bool[N, 1, 3, 5] mask")
GROUPED = MASKED.replace("N, 2, 3", "N, 6, 3")
KEYS = "t = Transpose<perm = [0, 1, 3, 2]>(k)"
END = "w = Softmax<axis = -1>(s) y = MatMul(w, v)"
GUARDED = "w = Softmax<axis = -1>(s) n = IsNaN(w) g = Where(n, zero, w) y = MatMul(g, v)"


@pytest.mark.parametrize(
    "formula",
    [
        f"{KEYS} p = MatMul(q, t) s = Mul(p, scale)",
        f"{KEYS} p = MatMul(q, t) s = Div(p, four)",
        f"{KEYS} a = Mul(scale, q) s = MatMul(a, t)",
        f"{KEYS} a = Mul(q, root) b = Mul(t, root) s = MatMul(a, b)",
        "a = Mul(q, root) b = Mul(k, root) t = Transpose<perm = [0, 1, 3, 2]>(b) s = MatMul(a, t)",
    ],
)
def test_the_scale_may_be_anywhere(formula):
    after = f"{PLAIN} {{y = Attention<scale = 0.25>(q, k, v)}}"
    assert_rewrites(FuseAttention(), f"{PLAIN} {{{formula} {END}}}", after)


def test_the_usual_scale_is_not_written_out():
    before = f"{PLAIN} {{{KEYS} p = MatMul(q, t) s = Mul(p, root) {END}}}"
    assert_rewrites(FuseAttention(), before, f"{PLAIN} {{y = Attention(q, k, v)}}")


def test_keys_transposed_in_another_way():
    signature = PLAIN.replace("N, 2, 5, 4] k", "N, 5, 2, 4] k")
    before = f"{signature} {{t = Transpose<perm = [0, 2, 3, 1]>(k) s = MatMul(q, t) {END}}}"
    after = f"{signature} {{t = Transpose<perm = [0, 2, 1, 3]>(k) y = Attention<scale = 1.0>(q, t, v)}}"
    assert_rewrites(FuseAttention(), before, after)


NO_LOWEST = "e = Equal(mask, its_lowest) m = Where(e, its_half, mask)"
"""What keeps a float mask from being read as hidden by ONNX Runtime where it is only very low."""


def with_constants(signature: str, *more: str) -> str:
    """Add constants to a signature that has some."""
    return ", ".join([signature[:-1], *more]) + ">"


LOWEST, HALF = "float its_lowest = {-3.4028235e38}", "float its_half = {-1.7014117e38}"


def test_a_float_mask_is_added():
    before = f"{MASKED} {{{KEYS} p = MatMul(q, t) c = Mul(p, root) s = Add(mask, c) {END}}}"
    after = f"{with_constants(MASKED, LOWEST, HALF)} {{{NO_LOWEST} y = Attention(q, k, v, m)}}"
    assert_rewrites(FuseAttention(), before, after)


@pytest.mark.parametrize("padded", [slice(0, 2), slice(3, 5), slice(0, 0), slice(0, 5)], ids=str)
@pytest.mark.parametrize("low", [-3.4028235e38, -1e9])
def test_padded_queries_and_keys_keep_their_numbers(padded, low):
    signature = CHOSEN.replace("{-1e9}", f"{{{low!r}}}")
    before = f"{signature} {{{KEYS} p = MatMul(q, t) m = Where(mask, zero, low) s = Add(p, m) {END}}}"
    shown = np.ones((2, 1, 3, 5), dtype=np.bool_)
    shown[1, :, :, padded] = False
    assert_rewrites(FuseAttention(), before, None, dims={"N": 2}, feeds={"mask": shown})


def test_scores_are_replaced_where_hidden():
    before = f"{CHOSEN} {{{KEYS} p = MatMul(q, t) s = Where(mask, p, lowest) {END}}}"
    signature = with_constants(CHOSEN, HALF, "float nothing = {0}")
    after = f"{signature} {{m = Where(mask, nothing, its_half) y = Attention<scale = 1.0>(q, k, v, m)}}"
    assert_rewrites(FuseAttention(), before, after)
    hidden = before.replace("Where(mask, p, lowest)", "Where(mask, lowest, p)")
    assert_rewrites(FuseAttention(), hidden, after.replace("(mask, nothing, its_half)", "(mask, its_half, nothing)"))


@pytest.mark.parametrize(
    "masking", ["s = Where(mask, p, minus_infinity)", "m = Where(mask, zero, minus_infinity) s = Add(p, m)"]
)
def test_a_guard_against_nan_makes_it_a_mask_of_bools(masking):
    before = f"{CHOSEN} {{{KEYS} p = MatMul(q, t) {masking} {GUARDED}}}"
    after = f"{CHOSEN} {{y = Attention<scale = 1.0>(q, k, v, mask)}}"
    assert_rewrites(FuseAttention(), before, after)


def test_masks_of_keys_alone_are_written_out_for_each_query():
    signature = MASKED.replace("N, 1, 3, 5] mask", "N, 1, 1, 5] mask").replace("N, 2, 3,", "N, 2, S,")
    before = f"{signature} {{{KEYS} p = MatMul(q, t) s = Add(p, mask) {END}}}"
    declared = with_constants(signature, LOWEST, HALF, "int64[1] one = {1}")
    after = f"""{declared} {{{NO_LOWEST} l = Shape<start = 2, end = 3>(q) z = Concat<axis = 0>(l, one)
        w = Expand(m, z) y = Attention<scale = 1.0>(q, k, v, w)}}"""
    assert_rewrites(FuseAttention(), before, after, dims={"N": 2, "S": 3})


def test_a_constant_causal_mask_becomes_the_attribute():
    causal = "{" + ", ".join("0" if key <= query else "-1e9" for query in range(3) for key in range(5)) + "}"
    signature = with_constants(PLAIN, f"float[1, 1, 3, 5] mask = {causal}")
    before = f"{signature} {{{KEYS} p = MatMul(q, t) s = Add(p, mask) {END}}}"
    assert_rewrites(FuseAttention(), before, f"{signature} {{y = Attention<scale = 1.0, is_causal = 1>(q, k, v)}}")


TWO = MASKED.replace("mask)", "mask, bool[3, 5] seen)")
HIDES_ROWS = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], dtype=np.bool_)
LOW_ROWS = np.where([[1, 1, 0, 0, 1], [1, 1, 0, 0, 0], [0, 1, 1, 1, 1]], 0, np.finfo("f").min).astype("f")


@pytest.mark.parametrize("masking", ["Where(seen, a, lowest)", "Where(hidden, lowest, a)"])
def test_scores_replaced_behind_a_mask_that_is_added(masking):
    before = f"{TWO} {{{KEYS} p = MatMul(q, t) a = Add(p, mask) hidden = Not(seen) s = {masking} {END}}}"
    feeds = {"seen": HIDES_ROWS, "mask": np.broadcast_to(LOW_ROWS, (2, 1, 3, 5))}
    assert_rewrites(FuseAttention(), before, None, dims={"N": 2}, feeds=feeds)


def test_a_mask_added_behind_a_causal_one():
    causal = "bool[3, 5] seen = {1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0}"
    signature = with_constants(MASKED, causal)
    before = f"{signature} {{{KEYS} p = MatMul(q, t) r = Where(seen, p, lowest) s = Add(r, mask) {END}}}"
    feeds = {"mask": np.broadcast_to(LOW_ROWS, (2, 1, 3, 5))}
    assert_rewrites(FuseAttention(), before, None, dims={"N": 2}, feeds=feeds)


def test_two_masks_that_only_show_or_hide_are_one():
    signature = CHOSEN.replace("mask)", "mask, bool[3, 5] seen)")
    masking = "r = Where(mask, p, minus_infinity) s = Where(seen, r, minus_infinity)"
    before = f"{signature} {{{KEYS} p = MatMul(q, t) {masking} {GUARDED}}}"
    after = f"{signature} {{m = And(seen, mask) y = Attention<scale = 1.0>(q, k, v, m)}}"
    assert_rewrites(FuseAttention(), before, after, feeds={"seen": HIDES_ROWS})


def test_capped_scores():
    formula = f"{KEYS} p = MatMul(q, t) a = Div(p, cap) h = Tanh(a) b = Mul(h, cap) s = Add(b, mask) {END}"
    report = assert_rewrites(FuseAttention(), f"{MASKED} {{{formula}}}", None)
    assert report.changed[0].text == "7 nodes became Attention"


REPEATS = {
    "Expand": "u = Unsqueeze(k, middle) e = Expand(u, groups) r = Reshape(e, joined)",
    "Tile": "u = Unsqueeze(k, middle) e = Tile(u, groups) r = Reshape(e, joined)",
    "Gather": "r = Gather<axis = 1>(k, copies)",
}


@pytest.mark.parametrize("how", REPEATS)
def test_repeated_heads_are_taken_once(how):
    signature = f"{GROUPED[:-1]}, int64[6] copies = {{0, 0, 0, 1, 1, 1}}>".replace("5, 6] v", "5, 4] v")
    signature = signature.replace("3, 6] y", "3, 4] y")
    keys, values = REPEATS[how], REPEATS[how]
    for name in "uerk":
        values = values.replace(f"{name} =", f"{name}v =").replace(f"({name},", f"({name}v,").replace("(kv,", "(v,")
    before = f"""{signature} {{{keys} {values} t = Transpose<perm = [0, 1, 3, 2]>(r) p = MatMul(q, t)
        s = Add(p, mask) w = Softmax<axis = -1>(s) y = MatMul(w, rv)}}"""
    after = f"""{with_constants(signature, LOWEST, HALF)} {{{NO_LOWEST}
        y = Attention<scale = 1.0>(q, k, v, m)}}"""
    assert_rewrites(FuseAttention(), before, after)


def test_one_head_for_all_queries_by_broadcasting():
    signature = PLAIN.replace("N, 2, 5", "N, 1, 5")
    before = f"{signature} {{{KEYS} s = MatMul(q, t) {END}}}"
    assert_rewrites(FuseAttention(), before, f"{signature} {{y = Attention<scale = 1.0>(q, k, v)}}")


FLAT = """(float[8, 3, 4] q, float[8, 5, 4] k, float[8, 5, 6] v{}) => (float[8, 3, 6] y) <float root = {{0.5}}> {{
    t = Transpose<perm = [0, 2, 1]>(k) p = MatMul(q, t) s = Mul(p, root) w = Softmax<axis = -1>(s) y = MatMul(w, v)
}}"""
"""Batch and heads in one axis, as torch.bmm has them."""


def test_heads_alone_get_a_batch_of_one():
    after = """(float[8, 3, 4] q, float[8, 5, 4] k, float[8, 5, 6] v) => (float[8, 3, 6] y)
        <float root = {0.5}, int64[1] a = {0}, int64[1] b = {0}, int64[1] c = {0}, int64[1] d = {0}> {
            q4 = Unsqueeze(q, a) k4 = Unsqueeze(k, b) v4 = Unsqueeze(v, c) z = Attention(q4, k4, v4) y = Squeeze(z, d)
        }"""
    assert_rewrites(FuseAttention(), FLAT.format(""), after)


@pytest.mark.parametrize("shape", ["8, 3, 5", "1, 3, 5", "3, 5", "8, 1, 5", "5"])
def test_masks_of_heads_alone(shape):
    text = FLAT.format(f", float[{shape}] mask").replace("s = Mul(p, root)", "c = Mul(p, root) s = Add(c, mask)")
    assert_rewrites(FuseAttention(), text, None)


def test_keys_of_heads_alone_with_all_axes_reversed():
    text = "(float[4, 4, 4] q, float[4, 4, 4] k, float[4, 4, 4] v) => (float[4, 4, 4] y) {{ {} }}"
    body = "t = Transpose(k) p = MatMul(q, t) w = Softmax<axis = -1>(p) y = MatMul(w, v)"
    assert_rewrites(FuseAttention(), text.format(body), None)


def test_a_mask_that_gives_heads_alone_a_batch_stays():
    text = FLAT.format(", float[2, 8, 3, 5] mask").replace("s = Mul(p, root)", "c = Mul(p, root) s = Add(c, mask)")
    text = text.replace("float[8, 3, 6] y", "float[2, 8, 3, 6] y")
    assert_leaves(FuseAttention(), text, because="not all 4 or all 3")


BEFORE = f"{MASKED} {{{KEYS} p = MatMul(q, t) c = Mul(p, root) s = Add(c, mask) {END}}}"
HIDING = f"{CHOSEN} {{{KEYS} p = MatMul(q, t) s = Where(mask, p, minus_infinity) {END}}}"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("6] y)", "6] y, float[N, 2, 3, 5] p)"), "'p' are read elsewhere or are a graph output"),
        (BEFORE.replace("w = Soft", "o = Neg(s) w = Soft").replace("6] y)", "6] y, float[N, 2, 3, 5] o)"),
         "'s' are read elsewhere"),
        (BEFORE.replace("6] y)", "6] y, float[N, 2, 3, 5] w)"), None),
        (BEFORE.replace("axis = -1", "axis = 2"), None),
        (BEFORE.replace("MatMul(w, v)", "MatMul(w, w)").replace("6] y", "5] y").replace(" 3, ", " 5, ")
         .replace("[0, 1, 5, 2]", "[0, 1, 3, 2]"), None),
        (BEFORE.replace("c = Mul(p, root) s = Add(c, mask)", "c = Add(p, mask) s = Mul(c, root)"),
         "masked before it is scaled"),
        (BEFORE.replace("root = {0.5}", "root = {-0.5}"), "its scale is -0.5"),
        (BEFORE.replace("float[N, 2, 3, 4] q", "float[1, 2, 3, 4] q"), "batches of queries, keys and values broadcast"),
        (BEFORE.replace("N, 2, 3, 4] q", "N, 2, 1, 4] q"), "stretches axis 2 of the scores from 1 to 3"),
        (BEFORE.replace("N, 2, 5, 6] v", "N, 1, 5, 6] v"), "its heads broadcast: 2 of queries, 2 of keys, 1 of values"),
        (BEFORE.replace("N, 2, 5,", "N, 2, 0,").replace("3, 5] mask", "3, 0] mask"), "no elements"),
        (BEFORE.replace("[N, 2,", "[N, 1, 2,").replace("[0, 1, 3, 2]", "[0, 1, 2, 4, 3]"), "not all 4"),
        (FLAT.format("").replace("8, 5,", "1, 5,"), "batches of queries, keys and values broadcast: 8, 1, 1"),
        (FLAT.format("").replace("[8, 3,", "[U, 3,").replace("[8, 5,", "[V, 5,"), "batches of queries"),
        (HIDING, "gives NaN, and zero in Attention"),
        (f"{TWO} {{{KEYS} p = MatMul(q, t) r = Where(seen, p, lowest) s = Add(r, mask) {END}}}", "may together hide"),
        (f"{TWO} {{{KEYS} p = MatMul(q, t) r = Add(p, mask) s = Where(seen, r, low) {END}}}", "may together hide"),
        (HIDING.replace("minus_infinity)", "root)"), "fills hidden scores with 0.5"),
    ],
)  # fmt: skip
def test_leaves_what_the_op_would_compute_otherwise(text, because):
    assert_leaves(FuseAttention(), text, because=because)


def test_half_precision_masks_are_left():
    text = f"{MASKED} {{{KEYS} p = MatMul(q, t) s = Add(p, mask) {END}}}"
    text = text[: text.index("<float")] + text[text.index("> {") + 1 :]
    assert_leaves(FuseAttention(), text.replace("float[", "float16["), because="only nearly")
    plain = text.replace(" s = Add(p, mask)", "").replace("Softmax<axis = -1>(s)", "Softmax<axis = -1>(p)")
    assert_rewrites(FuseAttention(), plain.replace("float[", "float16["), None, tolerance=3e-2)


def test_masks_can_be_trusted_to_show_a_key():
    after = f"{CHOSEN} {{y = Attention<scale = 1.0>(q, k, v, mask)}}"
    shown = np.ones((2, 1, 3, 5), dtype=np.bool_)
    shown[1, :, :, :4] = False
    assert_rewrites(FuseAttention(assume_visible=True), HIDING, after, dims={"N": 2}, feeds={"mask": shown})


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        batch, heads, queries, keys, size = around.choose(1, 2), around.choose(1, 2), around.choose(1, 3), 3, 4
        groups, lonely = around.choose(1, 2), around.choose("scores", "weights", "keys", "scaled", "nothing")
        query = around.op("Neg", around.input(batch, heads * groups, queries, size))
        key, value = (around.op("Neg", around.input(batch, heads, keys, size)) for _ in range(2))
        if groups > 1:
            key, value = (_repeated(around, item, (batch, heads, groups, keys, size)) for item in (key, value))
        turned = around.op("Transpose", key, perm=[0, 1, 3, 2], company=lonely == "keys")
        scores = around.op("MatMul", query, turned, company=lonely == "scores")
        factor = around.constant(
            np.array(around.choose(1 / math.sqrt(size), 0.3, -1.0), "f"), varies=lonely == "scaled"
        )
        scores = around.op("Mul", scores, factor, company=lonely == "scaled")
        for _ in range(around.choose(1, 1, 2)):
            scores = _masked(around, scores, (batch, heads * groups, queries, keys))
        weights = around.op("Softmax", scores, axis=around.choose(-1, 3, -1, 2), company=lonely == "weights")
        around.op("MatMul", weights, value)

    check_surroundings(FuseAttention(), build, examples=100, least_hits=0.2)


def _repeated(around: Surroundings, value: str, shape: tuple[int, ...]) -> str:
    batch, heads, groups, length, size = shape
    axis = around.choose(2, 2, 1)
    value = around.op("Unsqueeze", value, around.constant(np.array([axis]), varies=False), company=False)
    whole = np.array(shape if axis == 2 else (batch, groups, heads, length, size))
    value = around.op("Expand", value, around.constant(whole, varies=False), company=False)
    joined = around.constant(np.array([batch, heads * groups, length, size]), varies=False)
    return around.op("Reshape", value, joined, company=False)


def _masked(around: Surroundings, scores: str, shape: tuple[int, ...]) -> str:
    batch, heads, queries, keys = shape
    kind = around.choose("none", "added", "added", "replaced", "constant")
    mask_shape = around.choose((batch, 1, queries, keys), (batch, heads, 1, keys), (queries, keys), (keys,), (1,))
    if kind == "added":
        return around.op("Add", around.input(*mask_shape), scores, company=False)
    if kind == "replaced":
        low = around.constant(np.array(around.choose(-1e9, -3.4e38, -np.inf, -1.0), "f"), varies=False)
        return around.op("Where", around.input(*mask_shape, dtype="bool"), scores, low, company=False)
    if kind == "constant":
        low = around.choose(-1e9, -np.inf)
        mask = around.constant(np.triu(np.full((queries, keys), low, "f"), 1), varies=False)
        return around.op("Add", scores, mask, company=False)
    return scores


BIASED = PLAIN.replace("6] v)", "6] v, bool[N, 1, 3, 5] mask, bool[3, 5] far)")
BIAS = "bucket = Cast<to = 7>(far) g = Gather(table, bucket) h = Transpose<perm = [2, 0, 1]>(g) i = Unsqueeze(h, first)"
TABLE = (f"float[12, 2] table = {{{', '.join(str(row / 8 - 1) for row in range(24))}}}", "int64[1] first = {0}")
HIDES = ("float hides = {-8.5070587e37}", "float nought = {0}")


def test_a_bias_from_a_table_hides_nothing_and_is_added_to_the_mask():
    """As T5 has it: by the distance of query and key, beside a mask that may hide all keys."""
    masked = f"{KEYS} p = MatMul(q, t) {BIAS} o = Add(p, i) m = Where(mask, zero, lowest) s = Add(o, m) {END}"
    added = f"{BIAS} a = Where(mask, nought, hides) b = Add(a, i) y = Attention<scale = 1.0>(q, k, v, b)"
    before = f"{with_constants(BIASED, *TABLE)} {{{masked}}}"
    after = f"{with_constants(BIASED, *TABLE, *HIDES)} {{{added}}}"
    assert_rewrites(FuseAttention(), before, after)
