"""Factors between the operands of products, chosen where one of them is held in fewer bits."""

import numpy as np
import pytest

from npuopt.graph.execution import Session
from npuopt.passes.quantize.move_channel_scales import MoveChannelScales
from npuopt.quantization import calibrate
from npuopt.quantization.assignment.activations import EVENED_HEADROOM
from npuopt.quantization.channels.joints import joints, obstacle
from npuopt.quantization.channels.linking import links
from npuopt.quantization.steps import Work
from npuopt.quantization.steps.products import EqualizeProducts
from support.rewrites import model_from
from support.stepping import literal, work_on

RNG = np.random.default_rng(0)
X = np.random.default_rng(9).normal(size=(8, 1, 16, 8)).astype(np.float32)
LOUD = np.array([1, 1, 8, 1, 1, 1, 1, 30.0])
Q, K, V, OUT = (RNG.normal(size=(8, 8)) for _ in range(4))


def attention(outputs="", k=K * LOUD, v=V * LOUD[::-1], before="", keys="kh", extra=""):
    """Return attention with two heads of four channels, as text."""
    weights = ", ".join(
        f"float[8,{array.shape[1]}] w{name} = {{{literal(array)}}}"
        for name, array in {"q": Q, "k": k, "v": v, "o": OUT}.items()
    )
    return f"""(float[1,16,8] x) => (float[1,16,8] y{outputs}) <{weights}, float[8] bk = {{{literal(LOUD)}}},
        int64[4] heads = {{1,16,2,4}}, int64[3] flat = {{1,16,8}} {extra}>
        {{q = MatMul(x, wq) qs = Reshape(q, heads) qh = Transpose<perm=[0,2,1,3]>(qs)
        k = MatMul(x, wk) kb = Add(k, bk) ks = Reshape(kb, heads) kh = Transpose<perm=[0,2,1,3]>(ks) {before}
        across = Transpose<perm=[0,1,3,2]>({keys}) s = MatMul(qh, across) p = Softmax(s)
        v = MatMul(x, wv) vs = Reshape(v, heads) vh = Transpose<perm=[0,2,1,3]>(vs)
        m = MatMul(p, vh) mt = Transpose<perm=[0,2,1,3]>(m) o = Reshape(mt, flat) y = MatMul(o, wo)}}"""


def chosen(text, folder, scheme="a16w8"):
    work = work_on(text, folder, scheme, x=X)
    found = {}
    for rewrite in EqualizeProducts().rewrites(work):
        report = MoveChannelScales(**rewrite.options)(work.model)
        assert not report.declined
        found |= {name: np.array(factors) for name, factors in rewrite.options["scales"].items()}
    return found, work.model


def test_keys_and_values_get_channels_of_equal_range(tmp_path):
    found, model = chosen(attention(), tmp_path)
    assert set(found) == {"q", "k", "v"}
    np.testing.assert_allclose(found["q"] * found["k"], 1)
    model.graph.outputs.extend(value for node in model.graph for value in node.outputs if value.name in ("kb", "vs"))
    made = [Session(model).run({"x": x}) for x in X]
    for name in ("kb", "vs"):
        peaks = np.abs(np.stack([each[name] for each in made]).reshape(-1, 8)).max(axis=0)
        assert peaks.max() / peaks.min() < 3, f"channels of {name}, which differed by 30, still do"


def test_eight_bits_lose_less_of_keys_with_it(tmp_path):
    """The noise of the scores, with keys rounded to 8 bits and all else exact, falls by what the ranges tell."""

    def noise(model):
        model.graph.outputs.extend(
            value for node in model.graph for value in node.outputs if value.name in ("qh", "kh")
        )
        total = 0.0
        made = [Session(model).run({"x": x}) for x in X]
        low, high = (function([function(each["kh"]) for each in made]) for function in (np.min, np.max))
        scale = (high - low) / 255
        for each in made:
            error = np.round(each["kh"] / scale) * scale - each["kh"]
            total += np.square(each["qh"] @ error.swapaxes(-1, -2)).mean()
        return total

    plain = noise(work_on(attention(), tmp_path, "a16w8", x=X).model)
    _, model = chosen(attention(), tmp_path)
    assert noise(model) < plain / 5


def test_keys_that_fill_their_range_in_every_channel_get_some_room(tmp_path):
    plain = work_on(attention(), tmp_path, "a16w8", x=X)
    seen = plain.ranges.of("kb")
    low, high = plain.encodings().tensors["across"].range
    assert (low, high) == pytest.approx((seen.low, seen.high), rel=0.01)
    _, model = chosen(attention(), tmp_path)
    evened = Work(model, plain.target, "a16w8", plain.samples, calibrate(model, plain.samples, threads=1), threads=1)
    seen = evened.ranges.of("kb")
    low, high = evened.encodings().tensors["across"].range
    assert (low, high) == pytest.approx((EVENED_HEADROOM * seen.low, EVENED_HEADROOM * seen.high), rel=0.01)


def test_products_of_equal_bits_are_left_alone(tmp_path):
    assert chosen(attention(), tmp_path, "a8w8")[0] == {}


def test_channels_that_are_alike_stay_as_they_are(tmp_path):
    alike = np.repeat(V[:, :1], 8, axis=1)
    assert "v" not in chosen(attention(v=alike), tmp_path)[0]


def test_without_data_nothing_is_equalized(tmp_path):
    work = work_on(attention(), tmp_path, "a16w8", x=X)
    work.samples = None
    assert list(EqualizeProducts().rewrites(work)) == []


@pytest.mark.parametrize("output", ["k", "kb", "kh", "q", "qh", "across"])
def test_what_leaves_the_graph_keeps_its_numbers_and_so_does_the_other_side(output, tmp_path):
    shapes = {"k": "1,16,8", "kb": "1,16,8", "q": "1,16,8", "across": "1,2,4,16"}
    text = attention(f", float[{shapes.get(output, '1,2,16,4')}] {output}")
    assert set(chosen(text, tmp_path)[0]) == {"v"}


def test_values_that_leave_the_graph_keep_their_numbers(tmp_path):
    assert set(chosen(attention(", float[1,2,16,4] vh"), tmp_path)[0]) == {"q", "k"}


def test_a_rotary_embedding_keeps_its_pairs_alike(tmp_path):
    turn = "kr = RotaryEmbedding(kh, cos, sin)"
    angles = RNG.normal(size=32)
    cos, sin = literal(np.cos(angles)), literal(np.sin(angles))
    tables = f", float[1,16,2] cos = {{{cos}}}, float[1,16,2] sin = {{{sin}}}"
    found, _ = chosen(attention(before=turn, keys="kr", extra=tables), tmp_path)
    pairs = found["k"].reshape(2, 2, 2)
    np.testing.assert_allclose(pairs[:, 0], pairs[:, 1])
    assert found["k"].max() / found["k"].min() > 4
    np.testing.assert_allclose(found["q"] * found["k"], 1)


def test_query_heads_follow_the_key_head_that_they_share(tmp_path):
    text = f"""(float[1,16,8] x) => (float[1,4,16,16] y) <float[8,16] wq = {{{literal(RNG.normal(size=(8, 16)))}}},
        float[8,8] wk = {{{literal(K * LOUD)}}}, int64[4] queries = {{1,16,4,4}}, int64[4] grouped = {{1,2,32,4}},
        int64[4] keys = {{1,16,2,4}}, int64[4] apart = {{1,4,16,16}}>
        {{q = MatMul(x, wq) qs = Reshape(q, queries) qh = Transpose<perm=[0,2,1,3]>(qs) qg = Reshape(qh, grouped)
        k = MatMul(x, wk) ks = Reshape(k, keys) kh = Transpose<perm=[0,2,3,1]>(ks) s = MatMul(qg, kh)
        y = Reshape(s, apart)}}"""
    found, _ = chosen(text, tmp_path)
    assert found["q"].shape == (16,)
    by_head = found["q"].reshape(2, 2, 4)
    np.testing.assert_allclose(by_head * found["k"].reshape(2, 1, 4), 1)


def test_one_layer_that_makes_all_three(tmp_path):
    weight = np.concatenate([Q, K * LOUD, V * LOUD[::-1]], axis=1)
    text = f"""(float[1,16,8] x) => (float[1,16,8] y) <float[8,24] w = {{{literal(weight)}}},
        float[8,8] wo = {{{literal(OUT)}}}, int64[3] at = {{8,8,8}}>
        {{h = MatMul(x, w) q, k, v = Split<axis=2>(h, at) t = Transpose<perm=[0,2,1]>(k) s = MatMul(q, t)
        p = Softmax(s) m = MatMul(p, v) y = MatMul(m, wo)}}"""
    found, _ = chosen(text, tmp_path)
    queries, keys, values = np.split(found["h"], 3)
    np.testing.assert_allclose(queries * keys, 1)
    assert keys.argmax() == LOUD.argmax()
    assert values.argmax() == LOUD[::-1].argmax()


def test_a_tensor_that_meets_itself_has_nothing_to_give(tmp_path):
    text = f"""(float[1,16,8] x) => (float[1,16,16] y) <float[8,8] wk = {{{literal(K * LOUD)}}}>
        {{k = MatMul(x, wk) t = Transpose<perm=[0,2,1]>(k) y = MatMul(k, t)}}"""
    assert chosen(text, tmp_path)[0] == {}


def test_channels_that_meet_in_several_products_go_together():
    weights = ", ".join(f"float[4,4] w{name} = {{{literal(RNG.normal(size=(4, 4)))}}}" for name in "abcd")
    model = model_from(f"""(float[3,4] x, float[4,3] run) => (float[3,3] y, float[3,3] z, float[3,3] u) <{weights}>
        {{a = MatMul(x, wa) b = MatMul(x, wb) c = MatMul(x, wc) d = MatMul(x, wd) t = Transpose<perm=[1,0]>(c)
        y = MatMul(a, t) z = MatMul(b, t) u = MatMul(d, run)}}""")
    found = joints(model)
    assert not any(obstacle(joint) for joint in found)
    (link,) = links(found, [])
    assert set(link.bundles) == {"a", "b", "c"}, "d meets what has no factors"
    assert link.count == 4
    factors = link.factors(np.array([2.0, 3.0, 4.0, 5.0]))
    np.testing.assert_allclose(factors["a"], factors["b"])
    np.testing.assert_allclose(factors["a"] * factors["c"], 1)
    (pinned,) = links(found, [joint for joint in found if joint.name == "b"])
    assert pinned.count == 0
