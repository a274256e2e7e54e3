# no assert_rewrites: it changes inputs and outputs, which the graph that it is compared with has not

import numpy as np
import pytest

from npuopt.decoder import Decoder, Layer
from npuopt.graph import Session, nodes
from npuopt.passes.freeze.freeze_key_value_cache import FreezeKeyValueCache, cache_length
from support.rewrites import assert_leaves, model_from

CONTEXT, HEADS, SIZE = 8, 2, 4
GRAPH = """(float[1,2,new,4] q, float[1,2,new,4] k, float[1,2,new,4] v, float[1,1,new,total] m,
    float[1,2,past,4] past_k, float[1,2,past,4] past_v)
    => (float[1,2,new,4] y, float[A,B,C,D] k_all, float[A,B,E,D] v_all)
    { y, k_all, v_all = Attention(q, k, v, m, past_k, past_v) }"""
ALONE = """(float[1,2,new,4] q, float[1,2,new,4] k, float[1,2,new,4] v) => (float[1,2,new,4] y)
    { y = Attention<is_causal = 1>(q, k, v) }"""
DRAW = np.random.default_rng(0)


def decoder(*, cached=True, window=None):
    past = ("past_k", "past_v") if cached else (None, None)
    present = ("k_all", "v_all") if cached else ("", "")
    layer = Layer("y", "m", "k", "v", *past, *present, HEADS, HEADS, SIZE, SIZE, window)
    return Decoder("ids", None, "logits", 10, CONTEXT, (layer,), ())


def drawn(length):
    return DRAW.normal(size=(1, HEADS, length, SIZE)).astype(np.float32)


def test_new_keys_and_values_come_out_and_the_mask_says_what_counts():
    before, after = model_from(GRAPH), model_from(GRAPH)
    report = FreezeKeyValueCache(decoder(), "new", 2, 2)(after)
    assert [entry.text for entry in report.changed] == [f"keeps {CONTEXT} places"]
    q, k, v, past_k, past_v = drawn(2), drawn(2), drawn(2), drawn(3), drawn(3)
    mask = np.array([[0, 0, 0, 0, -200], [0] * 5], np.float32)[None, None]
    expected = Session(before).run({"q": q, "k": k, "v": v, "m": mask, "past_k": past_k, "past_v": past_v})
    caches = {
        name: np.pad(past, ((0, 0), (0, 0), (0, 5), (0, 0))) for name, past in (("past_k", past_k), ("past_v", past_v))
    }
    wide = np.concatenate([mask[..., :3], np.full((1, 1, 2, 5), -200, np.float32), mask[..., 3:]], axis=3)
    got = Session(after).run({"q": q, "k": k, "v": v, "mask": wide, **caches})
    np.testing.assert_allclose(got["y"], expected["y"], atol=1e-5)
    np.testing.assert_array_equal(got["k_all"], k)
    np.testing.assert_array_equal(got["v_all"], v)


@pytest.mark.parametrize("form", ["in-place", "whole"])
def test_the_whole_cache_comes_out(form):
    after = model_from(GRAPH)
    FreezeKeyValueCache(decoder(), form, 2, 2)(after)
    k, cache = drawn(2), drawn(CONTEXT)
    feeds = {"q": drawn(2), "k": k, "v": k, "mask": np.zeros((1, 1, 2, CONTEXT), np.float32)}
    got = Session(after).run({**feeds, "past_k": cache, "past_v": cache, "write_position": np.array([3])})
    if form == "whole":
        expected = np.concatenate([cache[:, :, 2:], k], axis=2)
    else:
        expected = cache.copy()
        expected[:, :, 3:5] = k
    np.testing.assert_array_equal(got["k_all"], expected)


def test_a_window_has_a_short_cache_that_is_written_around_its_end():
    after = model_from(GRAPH)
    FreezeKeyValueCache(decoder(window=3), "in-place", 2, 2)(after)
    (scatter, _) = nodes(after, "TensorScatter")
    assert scatter.attributes["mode"].value == "circular"
    assert list(scatter.inputs[0].shape) == [1, HEADS, 5, SIZE]
    assert [cache_length(window, 8, 2, "new") for window in (None, 3, 100)] == [8, 3, 8]


def test_a_decoder_without_a_cache_gets_one():
    after = model_from(ALONE)
    FreezeKeyValueCache(decoder(cached=False), "new", 2, 2)(after)
    assert [value.name for value in after.graph.inputs] == ["q", "k", "v", "past_key_0", "past_value_0", "mask"]
    assert [value.name for value in after.graph.outputs] == ["y", "present_key_0", "present_value_0"]


def test_layers_that_are_not_there_are_left():
    text = "(float[1, 2] x) => (float[1, 2] z) { z = Relu(x) }"
    assert_leaves(FreezeKeyValueCache(decoder()), text, because="no such node")
