"""What a decoder is, is read off its structure; what cannot be told is said."""

from __future__ import annotations

import numpy as np
import pytest

from npuopt.decoder import Hints, read_hints, recognise
from npuopt.errors import InputError
from npuopt.graph import load
from npuopt.pipeline.runner import Runner
from npuopt.road.preparation import prepare
from support.paths import ROOT
from support.rewrites import model_from

TINY = ROOT / "examples" / "tiny_llama" / "model.onnx"
WINDOWED = """(int64[1,new] ids) => (float[1,new,6] logits) <float[6,4] table = {ONES}, float[4,6] head = {ONES},
    int64 zero = {0}, int64 one = {1}, int64 window = {3}, float shown = {0}, float hidden = {-1e9},
    int64[1] rows = {1}, int64[1] columns = {0}, int64[4] heads = {0, 0, 1, 4}, int64[3] joined = {0, 0, 4}>
    { s = Shape<start = 1, end = 2>(ids) n = Squeeze(s) p = Range(zero, n, one) i = Unsqueeze(p, rows)
      j = Unsqueeze(p, columns) distance = Sub(i, j) past = GreaterOrEqual(distance, zero) near = Less(distance, window)
      seen = And(past, near) mask = Where(seen, shown, hidden)
      e = Gather(table, ids) r = Reshape(e, heads) q = Transpose<perm = [0, 2, 1, 3]>(r)
      a = Attention(q, q, q, mask) b = Transpose<perm = [0, 2, 1, 3]>(a) c = Reshape(b, joined)
      logits = MatMul(c, head) }""".replace("ONES", ", ".join(["1"] * 24))


def raised(path):
    model = load(path)
    prepare(model, Runner(None, "off"), {}, say=lambda _: None)
    return model


def test_the_bundled_model_is_told_in_a_few_lines():
    decoder = recognise(raised(TINY), 128)
    assert decoder.facts == {
        "tokens": "input_ids",
        "vocabulary": "2048",
        "layers": "6",
        "heads": "6 of queries, 2 of keys and values, size 32",
        "cache": "taken and given back",
        "attention": "6 layers look at all tokens",
        "positions": "rotary",
        "queries and keys": "as they are",
        "embedding": "of its own",
    }
    assert (decoder.layers[5].past_key, decoder.layers[5].present_value) == ("past_k_5", "present_v_5")
    assert all(table.is_rotary and table.rows.shape == (128, 1, 16) for table in decoder.tables)


def test_a_window_is_found_by_computing_the_mask():
    decoder = recognise(model_from(WINDOWED), 8)
    assert decoder.windows == (3,)
    assert not decoder.has_cache
    assert recognise(model_from(WINDOWED), 3).windows == (None,), "no longer context, no window"
    assert recognise(model_from(WINDOWED), 8, Hints(windows={0: 0})).windows == (None,), "a hint wins"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("past = GreaterOrEqual", "past = LessOrEqual"), "does not show each token those before it"),
        (("shown, hidden)", "rising, hidden)"), "adds to the scores that it shows"),
        (("a = Attention(q, q, q, mask)", "a = Attention(q, q, q)"), "shows every token all others"),
        (
            ("mask = Where(seen, shown, hidden)", "f = Cast<to = 1>(ids) mask = Add(f, hidden)"),
            "which tokens there are",
        ),
        (("a = Attention(q, q, q, mask)", "a = Relu(q)"), "has no attention"),
    ],
    ids=["later tokens", "a bias", "no mask", "a mask by tokens", "no attention"],
)
def test_what_is_no_decoder_is_named(change, why):
    with pytest.raises(InputError, match=why):
        recognise(model_from(WINDOWED.replace("seen = And", "rising = Cast<to = 1>(i) seen = And").replace(*change)), 8)


def test_a_bias_by_distance_is_read_off_the_mask():
    by_distance = "rate = Cast<to = 1>(distance) mask = Where(seen, rate, hidden)"
    decoder = recognise(model_from(WINDOWED.replace("mask = Where(seen, shown, hidden)", by_distance)), 8)
    assert decoder.masks == ((3, "mask"),)
    np.testing.assert_array_equal(decoder.biases["mask"], [[0, 1, 2]])
    assert decoder.layers[0].bias == "mask"


def test_two_candidates_for_the_tokens_are_named_and_a_hint_decides(tmp_path):
    text = WINDOWED.replace("int64[1,new] ids)", "int64[1,new] ids, int64[1,new] kinds)").replace(
        "r = Reshape(e, heads)", "k = Gather(table, kinds) both = Add(e, k) r = Reshape(both, heads)"
    )
    with pytest.raises(InputError, match="candidates 'ids', 'kinds'") as caught:
        recognise(model_from(text), 6)
    assert "decoder-hints" in caught.value.hint
    hints = tmp_path / "hints.yaml"
    hints.write_text("tokens: ids\ninputs: {kinds: positions}\n", encoding="utf-8")
    assert recognise(model_from(text), 6, read_hints(hints)).tokens == "ids"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("colour: red", "colour: "),
        ("inputs: {a: colour}", "inputs.a: "),
        ("[", "cannot be read"),
        ("tokens: [1]", "tokens: "),
        ("red", "is no mapping of hints"),
    ],
)
def test_wrong_hints_are_refused(tmp_path, text, why):
    path = tmp_path / "hints.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"hints\.yaml: {why}"):
        read_hints(path)


def test_a_context_beyond_the_model_s_positions_is_refused():
    with pytest.raises(InputError, match="cannot be computed for 5000 tokens"):
        recognise(raised(TINY), 5000)


def test_rows_are_those_of_the_positions():
    rows = recognise(raised(TINY), 16).tables[0].rows
    np.testing.assert_allclose(rows[:, 0, 0], np.cos(np.arange(16)), atol=1e-6)
