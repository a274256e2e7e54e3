"""The decoder that the benchmark writes, made small: recognised, and its chunks agree with single tokens."""

import numpy as np

from benchmarks.large_decoder import Sizes, write_decoder
from npuopt.bundle import read_manifest
from npuopt.road.language_model import compile_language_model
from npuopt.road.options import CompileOptions, LanguageModelOptions
from npuopt.target import load_target
from support.decoders import static_driver

SMALL = Sizes(layers=2, width=64, heads=4, groups=2, inside=96, vocabulary=100, positions=64)
WANTED = LanguageModelOptions(context=32, chunk=8)
TOKENS = np.random.default_rng(0).integers(0, 100, 21).tolist()


def test_chunks_equal_single_tokens(tmp_path):
    write_decoder(tmp_path / "model.onnx", SMALL)
    chunks, single = (static_driver(tmp_path / "model.onnx", WANTED, "new") for _ in range(2))
    assert chunks.record.position_ids == "position_ids", "the model's own input of positions gave way to the caller's"
    expected = np.concatenate([single.feed([token]) for token in TOKENS])
    np.testing.assert_allclose(chunks.feed(TOKENS), expected, atol=2e-2)


def test_weights_of_four_bits_are_there_once(tmp_path):
    write_decoder(tmp_path / "model.onnx", SMALL)
    options = CompileOptions(precision="w4", rounding="nearest", verify="off", language_model=WANTED)
    target = load_target("host/onnxruntime")
    manifest = compile_language_model(tmp_path / "model.onnx", target, tmp_path / "out", options)
    assert manifest == read_manifest(tmp_path / "out")
    before = (tmp_path / "model.onnx.data").stat().st_size
    assert (tmp_path / "out" / "profiles" / "weights.data").stat().st_size < 0.4 * before
