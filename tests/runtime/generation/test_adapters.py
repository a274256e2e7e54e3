"""Adapters of a compiled model are swapped without compiling, and compute what a merged one computes."""

import numpy as np
import pytest

from npuopt.errors import InputError, UsageError
from npuopt.runtime import GenerateOptions, Generator, open_generator, restore_session, save_session
from support.command import complaint, npuopt
from support.paths import EXAMPLES
from support.toy_decoder import write_artifact

TINY = EXAMPLES / "tiny_llama" / "model.onnx"
RANK, WIDTH = 4, 192
OPTIONS = GenerateOptions(max_tokens=6, past_end=True)
PROMPT = [45, 89, 707, 1016, 807]
LAYERS = {"/q/MatMul": WIDTH, "/v_3/MatMul": 64}


def adapter_file(path, *, rank: int = RANK, seed: int = 0, layers=None, alpha: float = 8.0):
    random, arrays = np.random.default_rng(seed), {}
    for layer, outputs in (layers or LAYERS).items():
        arrays[f"{layer}.lora_A"] = random.normal(size=(rank, WIDTH)).astype(np.float32) * 0.2
        arrays[f"{layer}.lora_B"] = random.normal(size=(outputs, rank)).astype(np.float32) * 0.2
        arrays[f"{layer}.alpha"] = np.float32(alpha)
    np.savez(path, **arrays)
    return path


def compiled(out, *arguments: object):
    where = ("--target", "host/onnxruntime", "--context", 32, "--chunk", 8, "--verify", "off", "-o", out)
    done = npuopt("compile", TINY, *where, *arguments)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def artifact(folder):
    return compiled(folder / "swappable", "--adapter", adapter_file(folder / "shape.npz"))


def logits(generator: Generator) -> np.ndarray:
    generator.decoder.forget()
    return generator.decoder.read_all(PROMPT)


def test_an_adapter_as_input_is_the_adapter_merged(folder, artifact) -> None:
    generator = open_generator(artifact, threads=1)
    plain = logits(generator)
    np.testing.assert_allclose(plain, logits(open_generator(compiled(folder / "plain"), threads=1)), atol=1e-4)
    for seed, rank in ((1, RANK), (2, 2)):  # a lower rank is filled up
        file = adapter_file(folder / f"{seed}.npz", seed=seed, rank=rank)
        generator.use_adapter(file)
        merged = open_generator(compiled(folder / f"merged{seed}", "--merge-adapter", file), threads=1)
        assert np.abs(logits(generator) - plain).max() > 0.01
        np.testing.assert_allclose(logits(generator), logits(merged), atol=2e-4)
    generator.use_adapter(None)
    np.testing.assert_array_equal(logits(generator), plain)


def test_a_conversation_stays_over_a_swap(folder, artifact) -> None:
    generator = open_generator(artifact, threads=1)
    list(generator.generate(PROMPT, OPTIONS))
    before = list(generator.tokens)
    generator.use_adapter(adapter_file(folder / "swap.npz", seed=3))
    list(generator.generate([7], OPTIONS))
    assert generator.tokens[: len(before) + 1] == [*before, 7]


def test_a_session_is_bound_to_its_adapter(folder, artifact, tmp_path) -> None:
    generator = open_generator(artifact, threads=1)
    generator.use_adapter(adapter_file(folder / "bound.npz", seed=4))
    list(generator.generate(PROMPT, OPTIONS))
    save_session(generator, tmp_path / "session.npz")
    restore_session(generator, tmp_path / "session.npz")
    generator.use_adapter(None)
    with pytest.raises(InputError, match="a session with another adapter"):
        restore_session(generator, tmp_path / "session.npz")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"rank": 5}, "an adapter of rank 5, and the model was compiled for 4"),
        ({"layers": {"/k/MatMul": 64}}, "a layer that was compiled without one"),
        ({"layers": {"/q/MatMul": 64}}, "from 192 to 64 features for a layer from 192 to 192"),
    ],
)
def test_adapters_that_do_not_fit_change_nothing(artifact, tmp_path, bad, words) -> None:
    generator = open_generator(artifact, threads=1)
    with pytest.raises(InputError, match=words):
        generator.use_adapter(adapter_file(tmp_path / "bad.npz", **bad))
    assert generator.decoder.adapter == ""


def test_a_file_that_is_none(artifact, tmp_path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK damaged")
    refused = npuopt("generate", artifact, "-p", "x", "--adapter", tmp_path / "bad.npz")
    assert "adapters cannot be read" in complaint(refused, 3)


def test_a_model_without_adapters(tmp_path) -> None:
    generator = open_generator(write_artifact(tmp_path / "artifact"))
    with pytest.raises(UsageError, match="was compiled without adapters; compile it with --adapter FILE"):
        generator.use_adapter(adapter_file(tmp_path / "a.npz"))


def test_ranges_of_a_model_with_adapters_are_those_of_the_model_alone(folder, tmp_path) -> None:
    texts = ("--calibration", TINY.with_name("calibration_prefill.npz"), "--precision", "fp32", "--cache-type", "int8")
    out = compiled(tmp_path / "out", "--adapter", folder / "shape.npz", *texts)
    assert {buffer.dtype.name for buffer in open_generator(out).decoder.caches.buffers.values()} == {"uint8"}
