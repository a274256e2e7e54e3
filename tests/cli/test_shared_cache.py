"""Prefill and decode of one model share encodings: what one writes into the cache the other reads as it was."""

import json
from pathlib import Path

import numpy as np
import pytest

from npuopt.graph import Session, save
from support.command import complaint, npuopt
from support.rewrites import model_from

OPS = {
    "Add": "",
    "Concat": "share: true",
    "MatMul": "weights: [1]",
    "Transpose": "share: true",
}
CHIP = """
name: toy/cache
title: A chip with a cache
source: invented
delegate: {road: ort}
schemes: {a8w8: {activation: uint8, weight: int8, weight_axis: channel, bias: int32}}
ops:
""" + "\n".join(f"  {name}: {{schemes: [a8w8], quantization: {{{wish}}}}}" for name, wish in OPS.items())
RANDOM = np.random.default_rng(0)
WEIGHT = "{" + ",".join(f"{number:.4f}" for number in RANDOM.normal(0, 0.5, 64)) + "}"
DECODER = f"""(float[1,seq,8] x, float[1,past,8] past_k) => (float[1,seq,all] y, float[1,all,8] present_k)
<float[8,8] w = {WEIGHT}> {{
    n = MatMul(x, w) k = Add(n, x) present_k = Concat<axis=1>(past_k, k)
    t = Transpose<perm=[0,2,1]>(present_k) y = MatMul(n, t)
}}"""
PREFILL = ("--dim", "seq=4", "--dim", "past=0")
DECODE = ("--dim", "seq=1", "--dim", "past=4")


@pytest.fixture
def quantize(tmp_path, monkeypatch):
    """Prefill sees larger numbers than decode does: without a word, each would choose its own encoding."""
    monkeypatch.chdir(tmp_path)
    save(model_from(DECODER), tmp_path / "m.onnx")
    (tmp_path / "chip.yaml").write_text(CHIP)
    np.savez("prefill.npz", x=RANDOM.normal(0, 2, (8, 1, 4, 8)).astype(np.float32))
    new, past = RANDOM.normal(0, 1, (8, 1, 1, 8)), RANDOM.normal(0, 1, (8, 1, 4, 8))
    np.savez("decode.npz", x=new.astype(np.float32), past_k=past.astype(np.float32))

    def run(profile, name, *options):
        dims = PREFILL if profile == "prefill" else DECODE
        return npuopt(
            *("quantize", "m.onnx", "-t", "chip.yaml", "-o", f"{name}.onnx", "--precision", "a8w8", *dims),
            *("--calibration", f"{profile}.npz", "--save-encodings", f"{name}.json", *options),
        )

    return run


def cache_encoding(name, tensor="present_k"):
    return json.loads(Path(f"{name}.json").read_text())["tensors"][tensor]


def both(quantize):
    """Prefill says what it needs, decode covers both, and prefill takes what covers both."""
    for profile, name, like in (
        ("prefill", "first", ()),
        ("decode", "decode", ("--like", "present_*=first.json")),
        ("prefill", "prefill", ("--like", "present_*=decode.json")),
    ):
        done = quantize(profile, name, *like)
        assert done.returncode == 0, done.stderr


def test_a_cache_written_by_one_is_read_by_the_other_without_loss(quantize):
    both(quantize)
    held = cache_encoding("prefill")
    assert held == cache_encoding("decode") == cache_encoding("decode", "past_k")
    prefill, decode = Session(Path("prefill.onnx"), threads=1), Session(Path("decode.onnx"), threads=1)
    x = np.random.default_rng(5).normal(0, 2, (1, 5, 8)).astype(np.float32)
    cache = prefill.run({"x": x[:, :4]})["present_k"]
    steps = cache / held["scale"] + held["zero_point"]
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    later = decode.run({"x": x[:, 4:], "past_k": cache})["present_k"]
    np.testing.assert_array_equal(later[:, :4], cache)


def test_without_a_word_the_cache_would_be_rounded_again(quantize):
    assert quantize("prefill", "prefill").returncode == 0
    assert quantize("decode", "decode").returncode == 0
    assert cache_encoding("prefill") != cache_encoding("decode")
    x = np.random.default_rng(5).normal(0, 2, (1, 5, 8)).astype(np.float32)
    cache = Session(Path("prefill.onnx"), threads=1).run({"x": x[:, :4]})["present_k"]
    later = Session(Path("decode.onnx"), threads=1).run({"x": x[:, 4:], "past_k": cache})["present_k"]
    assert np.abs(later[:, :4] - cache).max() > cache_encoding("decode")["scale"] / 4


def test_the_shared_encoding_covers_both(quantize):
    both(quantize)
    shared, first = cache_encoding("decode"), cache_encoding("first")
    assert shared["scale"] >= first["scale"] * 0.999
    assert quantize("decode", "alone").returncode == 0
    assert shared["scale"] > cache_encoding("alone")["scale"]


@pytest.mark.parametrize(
    ("like", "code", "words"),
    [
        ("present_k", 2, "is not NAMES=FILE"),
        ("present_*=none.json", 3, "encodings file cannot be read"),
        ("other_*=first.json", 3, "has no tensor of this model that is called 'other_*'"),
    ],
)
def test_mistakes_leave_nothing(quantize, tmp_path, like, code, words):
    assert quantize("prefill", "first").returncode == 0
    assert words in complaint(quantize("decode", "decode", "--like", like), code)
    assert not (tmp_path / "decode.onnx").exists()


def test_another_type_cannot_be_shared(quantize, tmp_path):
    assert quantize("prefill", "first").returncode == 0
    document = json.loads((tmp_path / "first.json").read_text())
    document["tensors"]["n"]["dtype"] = "uint16"
    (tmp_path / "first.json").write_text(json.dumps(document))
    sentence = complaint(quantize("prefill", "again", "--like", "n=first.json"), 3)
    assert "n: is held in uint16 there and made in uint8 here" in sentence
