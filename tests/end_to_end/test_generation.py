"""The bundled language model, compiled, says what its float self says, whichever engine and package runs it."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from npuopt.bundle import read_manifest
from npuopt.delegates.registry import find_delegate
from npuopt.errors import ToolchainMissingError
from npuopt.graph import load
from npuopt.graph.execution import Session
from npuopt.runtime import GenerateOptions, open_decoder, open_generator
from support.command import npuopt
from support.paths import EXAMPLES

TINY = EXAMPLES / "tiny_llama"
CONTEXT, CHUNK, LAYERS = 64, 16, 6


def compiled(out: Path, target: str, *more: object) -> Path:
    where = ("--target", target, "--context", CONTEXT, "--chunk", CHUNK, "--verify", "off", *more)
    done = npuopt("compile", TINY / "model.onnx", *where, "-o", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def on_host(tmp_path_factory) -> Path:
    return compiled(tmp_path_factory.mktemp("host") / "out", "host/onnxruntime")


@pytest.fixture(scope="module")
def on_chip(tmp_path_factory) -> Path:
    try:
        find_delegate("qnn").ensure_available()
    except ToolchainMissingError as error:
        pytest.skip(str(error))
    return compiled(tmp_path_factory.mktemp("chip") / "out", "qualcomm/sm8750")


@pytest.fixture(scope="module")
def source() -> Session:
    return Session(TINY / "model.onnx", optimize=True, threads=1)


def logits(source: Session, tokens: list[int]) -> np.ndarray:
    """Return the dynamic model's logits of each token, read without a cache."""
    empty = np.zeros((1, 2, 0, 32), np.float32)
    caches = {f"past_{kind}_{layer}": empty for layer in range(LAYERS) for kind in "kv"}
    return source.run({"input_ids": np.array([tokens]), **caches}, ["logits"])["logits"][0]


def test_a_hundred_tokens_across_a_full_context(on_host, source) -> None:
    generator = open_generator(on_host, threads=1)
    tokens = generator.tokenizer.encode("My fellow citizens, I have come here to speak")
    options = GenerateOptions(max_tokens=100, when_full="slide", sinks=4, past_end=True)
    steps = generator.generate(list(tokens), options)
    trims = 0
    for piece in steps:
        expected = logits(source, tokens)[-1]
        assert piece.token == int(expected.argmax())
        tokens.append(piece.token)
        if len(tokens) > CONTEXT:  # what the conversation is from here on, for the dynamic model too
            tokens = [*tokens[:4], *tokens[-(CONTEXT // 2 - 4) :]]
        trims = generator.trims
    assert trims >= 2
    decoder = open_decoder(on_host, threads=1)
    np.testing.assert_allclose(decoder.read_all(tokens), logits(source, tokens), atol=1e-4)


@pytest.mark.parametrize("profile", ["decode", "prefill"])
def test_either_profile_gives_the_sources_logits(on_host, source, profile) -> None:
    text = np.load(TINY / "validation_ids.npy")[:CONTEXT].astype(int).tolist()
    decoder = open_decoder(on_host, threads=1)
    np.testing.assert_allclose(decoder.read_all(text, profile), logits(source, text), atol=1e-4)


def test_tokens_are_looked_up_on_the_host(on_host, source, tmp_path) -> None:
    out = compiled(tmp_path / "out", "host/onnxruntime", "--embedding", "host")
    text = np.load(TINY / "validation_ids.npy")[:CONTEXT].astype(int).tolist()
    np.testing.assert_allclose(open_decoder(out, threads=1).read_all(text), logits(source, text), atol=1e-4)
    sizes = [sum(path.stat().st_size for path in folder.rglob("*.data")) for folder in (on_host, out)]
    assert sizes[1] == sizes[0] - 2048 * 192 * 4, "the head's weights are the table"


@pytest.mark.qnn
def test_prefill_and_eight_decode_steps_on_the_simulator(on_chip, source) -> None:
    text = np.load(TINY / "validation_ids.npy")[: CHUNK + 8].astype(int).tolist()
    decoder = open_decoder(on_chip, engine="device")
    made = np.concatenate(
        [decoder.read_all(text[:CHUNK], "prefill"), *(decoder.read_all([token], "decode") for token in text[CHUNK:])]
    )
    expected = logits(source, text)
    cosines = (made * expected).sum(-1) / np.linalg.norm(made, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert cosines.min() >= 0.999


@pytest.mark.qnn
def test_weights_of_four_bits_in_blocks_on_the_simulator(tmp_path) -> None:
    """The head included; what the chip is compiled from is what ONNX Runtime runs, without a copy in float."""
    try:
        find_delegate("qnn").ensure_available()
    except ToolchainMissingError as error:
        pytest.skip(str(error))
    out = compiled(tmp_path / "out", "qualcomm/sm8750", "--precision", "w4a", "--embedding", "host")
    text = np.load(TINY / "validation_ids.npy")[: CHUNK + 8].astype(int).tolist()
    made, expected = (
        np.concatenate(
            [decoder.read_all(text[:CHUNK], "prefill"), *(decoder.read_all([one], "decode") for one in text[CHUNK:])]
        )
        for decoder in (open_decoder(out, engine="device"), open_decoder(out, threads=1))
    )
    cosines = (made * expected).sum(-1) / np.linalg.norm(made, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert cosines.min() >= 0.999
    table = read_manifest(out).language_model.embedding
    assert (table.dtype, table.file) == ("uint4", "profiles/weights.data"), "the head's weights are the table"
    for profile in ("prefill", "decode"):
        ops = Counter(node.op_type for node in load(out / "profiles" / f"{profile}.onnx").graph)
        assert ops["MatMulNBits"] == 7 * LAYERS + 1
        assert ops["DequantizeLinear"] == ops["MatMul"] == ops["Gemm"] == 0


@pytest.mark.genai
def test_onnxruntime_genai_says_the_same(on_host) -> None:
    genai = pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed")
    model = genai.Model(str(on_host))
    options = genai.GeneratorParams(model)
    options.set_search_options(max_length=40, do_sample=False)
    theirs = genai.Generator(model, options)
    prompt = genai.Tokenizer(model).encode("My fellow citizens")
    theirs.append_tokens(prompt)
    while not theirs.is_done():
        theirs.generate_next_token()
    done = npuopt("generate", on_host, "-p", "My fellow citizens", "-n", 40 - len(prompt), "--json")
    said = json.loads(done.stdout)
    assert genai.Tokenizer(model).decode(theirs.get_sequence(0)) == "My fellow citizens" + said["text"]
