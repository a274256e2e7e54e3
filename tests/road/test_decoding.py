"""Static profiles of a decoder compute what the model computes that they were made of."""

from __future__ import annotations

import numpy as np
import pytest

from npuopt.road.options import LanguageModelOptions
from support.decoders import Dynamic, static_driver
from support.paths import ROOT

TINY = ROOT / "examples" / "tiny_llama" / "model.onnx"
TOKENS = np.random.default_rng(0).integers(0, 2048, 220).tolist()
CLOSE = {"rtol": 0, "atol": 1e-4}


@pytest.mark.parametrize("form", ["new", "in-place", "whole"])
def test_prefill_and_decode_equal_the_dynamic_model(form):
    """Over 100 tokens: a prompt of 70 in chunks of 32, then one by one; and again after a trim."""
    static = static_driver(TINY, LanguageModelOptions(context=128, chunk=32), form)
    dynamic = Dynamic(TINY)
    expected = [dynamic.feed(TOKENS[:70])] + [dynamic.feed([token]) for token in TOKENS[70:100]]
    got = [static.feed(TOKENS[:70])] + [static.feed([token]) for token in TOKENS[70:100]]
    np.testing.assert_allclose(np.concatenate(got), np.concatenate(expected), **CLOSE)


@pytest.mark.parametrize("form", ["new", "in-place", "whole"])
def test_a_full_context_is_trimmed_and_gone_on_from(form):
    """The last 64 of 128 tokens are taken in anew; what follows is what the dynamic model makes of them."""
    static = static_driver(TINY, LanguageModelOptions(context=128, chunk=32), form)
    dynamic = Dynamic(TINY)
    np.testing.assert_allclose(static.feed(TOKENS[:128]), dynamic.feed(TOKENS[:128]), **CLOSE)
    static.reset()
    dynamic.empty()
    kept = TOKENS[64:128]
    np.testing.assert_allclose(static.feed(kept), dynamic.feed(kept), **CLOSE)
    following = TOKENS[128:140]
    expected = np.concatenate([dynamic.feed([token]) for token in following])
    np.testing.assert_allclose(np.concatenate([static.feed([token]) for token in following]), expected, **CLOSE)


def test_a_slid_cache_equals_the_dynamic_model_with_the_same_cache():
    """Where a runtime drops the oldest entries instead, both models see the same keys at the same positions."""
    static = static_driver(TINY, LanguageModelOptions(context=128, chunk=32), "new")
    dynamic = Dynamic(TINY)
    static.feed(TOKENS[:128])
    dynamic.feed(TOKENS[:128])
    dynamic.past = {name: array[:, :, 64:] for name, array in dynamic.past.items()}
    static.caches = {name: np.roll(array, -64, 2) for name, array in static.caches.items()}
    static.position = 64
    expected = np.concatenate([dynamic.feed([token]) for token in TOKENS[128:150]])
    np.testing.assert_allclose(np.concatenate([static.feed([token]) for token in TOKENS[128:150]]), expected, **CLOSE)


def test_logits_of_the_last_token_only():
    whole = static_driver(TINY, LanguageModelOptions(context=64, chunk=16), "new")
    last = static_driver(TINY, LanguageModelOptions(context=64, chunk=16, last_logits=True), "new")
    assert last.record.profiles[0].logits == "last"
    np.testing.assert_allclose(last.feed(TOKENS[:21]), whole.feed(TOKENS[:21])[[15, 20]], **CLOSE)


def test_several_tokens_a_step_for_speculation():
    options = LanguageModelOptions(context=64, chunk=16, speculate=(4,))
    static = static_driver(TINY, options, "new")
    assert [profile.name for profile in static.record.profiles] == ["prefill", "decode_4", "decode"]
    dynamic = Dynamic(TINY)
    np.testing.assert_allclose(static.feed(TOKENS[:16]), dynamic.feed(TOKENS[:16]), **CLOSE)
    np.testing.assert_allclose(static.feed(TOKENS[16:19]), dynamic.feed(TOKENS[16:19]), **CLOSE)
