"""Encoder-decoders from both of torch's exporters: three static parts that compute what the halves computed."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tokenizers

from npuopt import api
from npuopt.errors import InputError, UsageError
from npuopt.road.built import Built
from npuopt.road.decoding import cache_form, open_halves
from npuopt.road.language_model import build_profiles
from npuopt.road.options import silent
from npuopt.road.source_parts import build_parts
from npuopt.runtime import GenerateOptions, Generator, open_decoder, restore_session, save_session
from npuopt.target import load_target
from support.command import complaint, npuopt
from support.encoder_decoders import LENGTH, SOUND, SOURCE, TOKENS, expected, options, path_of
from support.models import model_folder

pytestmark = pytest.mark.models

HALVES = [(name, half) for name in ("t5", "whisper") for half in ("decoder", "cached_decoder")]
every_exporter = pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
every_half = pytest.mark.parametrize(("name", "half"), HALVES)


@every_exporter
@every_half
@pytest.mark.parametrize("form", ["new", "in-place", "whole"])
def test_static_parts_equal_the_halves(name, half, exporter, form, tmp_path):
    source = SOUND if name == "whisper" else SOURCE
    folder = tmp_path / "artifact"
    api.compile(path_of(name, half, exporter), "host/onnxruntime", folder, options(name, exporter, form=form))
    decoder = open_decoder(folder, threads=1)
    with pytest.raises(InputError, match="there is no source to answer to"):
        decoder.read([0])
    decoder.read_source(source)
    got = np.concatenate([decoder.read_all(TOKENS[:21]), *(decoder.read_all([token]) for token in TOKENS[21:])])
    np.testing.assert_allclose(got, expected(name, exporter, source, TOKENS), rtol=0, atol=1e-4)


@every_exporter
@every_half
@pytest.mark.parametrize(("chip", "scheme"), [("qualcomm/sm8750", "fp16"), ("arm/ethos-u85-256", "a8w8")])
def test_every_node_is_for_the_device(name, half, exporter, chip, scheme):
    """Lookups and index arithmetic ahead of it are at the edge."""
    target, wanted = load_target(chip), options(name, exporter)
    opened = open_halves(path_of(name, half, exporter), wanted.language_model, say=silent)
    built: dict[str, Built] = {
        **build_profiles(opened, target, scheme, cache_form(target, None), wanted, None, say=silent),
        **build_parts(opened, target, scheme, wanted, None, say=silent),
    }
    refused = {
        part: [(item.node.op_type, item.reasons) for item in made.plan.placements if item.where == "host"]
        for part, made in built.items()
    }
    assert refused == {"prefill": [], "decode": [], "encoder": [], "cross": []}


@pytest.mark.parametrize(("name", "source"), [("t5", SOURCE), ("whisper", SOUND)])
@pytest.mark.parametrize(("scheme", "least"), [("a8w8", 0.95), ("w8", 0.99)])
def test_quantized_parts_stay_near_the_halves(name, source, scheme, least, tmp_path):
    """Eight bits are few for T5's biases, which are in the mask."""
    random = np.random.default_rng(3)
    sources = [random.normal(size=SOUND.shape).astype(np.float32) for _ in range(6)]
    if name == "t5":
        sources = [np.r_[random.integers(0, 100, 9), [-1] * 3] for _ in range(6)]
    np.savez(tmp_path / "texts.npz", source=np.stack(sources), input_ids=random.integers(0, 100, (6, 40)))
    plain = options(name, "dynamo")
    given = {"precision": scheme, "calibration": tmp_path / "texts.npz" if scheme == "a8w8" else None}
    folder = tmp_path / "artifact"
    api.compile(path_of(name, "decoder", "dynamo"), "host/onnxruntime", folder, dataclasses.replace(plain, **given))
    decoder = open_decoder(folder, threads=1)
    decoder.read_source(source)
    got, wanted = decoder.read_all(TOKENS), expected(name, "dynamo", source, TOKENS)
    cosines = (got * wanted).sum(-1) / np.linalg.norm(got, axis=-1) / np.linalg.norm(wanted, axis=-1)
    assert cosines.min() > least


def test_texts_without_sources_are_named(tmp_path):
    np.savez(tmp_path / "texts.npz", input_ids=np.zeros((2, 9), np.int64))
    given = dataclasses.replace(options("t5", "dynamo"), precision="a8w8", calibration=tmp_path / "texts.npz")
    with pytest.raises(InputError, match="has no array 'source' of sources"):
        api.compile(path_of("t5", "decoder", "dynamo"), "host/onnxruntime", tmp_path / "out", given)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """Return a compiled T5, its head apart."""
    folder = tmp_path_factory.mktemp("t5") / "artifact"
    wanted = options("t5", "dynamo", head="region")
    api.compile(path_of("t5", "decoder", "dynamo"), "host/onnxruntime", folder, wanted)
    return folder


def test_compiled_parts_give_what_the_models_give(artifact):
    tokens, found = TOKENS[:9], {}
    for engine in ("cpu", "device"):
        decoder = open_decoder(artifact, engine=engine, threads=1)
        decoder.read_source(SOURCE)
        found[engine] = decoder.read_all(tokens)
    np.testing.assert_allclose(found["device"], found["cpu"], atol=1e-5)


def test_another_source_is_another_answer_and_forgets_the_tokens(artifact):
    decoder = open_decoder(artifact, threads=1)
    decoder.read_source(SOURCE)
    first = decoder.read([0, 5])
    decoder.read_source(SOURCE[:4])
    assert decoder.length == 0
    assert np.abs(decoder.read([0, 5]) - first).max() > 1e-3
    decoder.read_source(SOURCE)
    np.testing.assert_array_equal(decoder.read([0, 5]), first)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ([1] * (LENGTH + 1), "the source has 13 tokens, and the encoder has room for 12"),
        ([], "the source has 0 tokens"),
        ([5, 100], "token 1 has the id 100, outside the model's vocabulary of 100"),
        ([[1, 2]], "is a batch of shape"),
    ],
)
def test_a_source_that_does_not_fit_is_named_and_the_one_before_stays(artifact, source, why):
    decoder = open_decoder(artifact, threads=1)
    decoder.read_source(SOURCE)
    before = decoder.read([0])
    with pytest.raises(InputError, match=why):
        decoder.read_source(source)
    decoder.forget()
    np.testing.assert_array_equal(decoder.read([0]), before)


def test_sessions_keep_the_source(artifact, tmp_path):
    path = tmp_path / "talk.session"
    generators = [Generator(open_decoder(artifact, threads=1), Numbers()) for _ in range(2)]
    generators[0].read_source(SOURCE)
    wanted = GenerateOptions(max_tokens=4)
    said = [piece.token for piece in generators[0].generate([], wanted)]
    assert len(said) == 4
    assert generators[0].tokens[0] == 0, "the start token begins"
    save_session(generators[0], path)
    restore_session(generators[1], path)
    following = [[piece.token for piece in generator.generate([7], wanted)] for generator in generators]
    assert following[0] == following[1]


def test_the_command_line_answers_to_a_source(artifact, tmp_path):
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{index}": index for index in range(100)}, "w99"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    command = ["generate", artifact, "--tokenizer", tmp_path / "tokenizer.json", "-n", "4"]
    said = npuopt(*command, "--source", "w3 w5", "--json")
    assert said.returncode == 0, said.stderr
    document = json.loads(said.stdout)
    assert (document["tokens"], document["prompt_tokens"]) == (4, 1)
    assert "there is no source to answer to" in complaint(npuopt(*command), 3)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"encoder": None}, "reads the states of an encoder, 'encoder_hidden_states'"),
        ({"start_token": None}, "which token an answer begins with is not known"),
        ({"start_token": 100}, "outside the vocabulary of 100"),
    ],
)
def test_what_is_missing_is_named(tmp_path, change, why):
    plain = options("t5", "dynamo")
    wanted = dataclasses.replace(plain.language_model, **change)
    with pytest.raises((InputError, UsageError), match=why):
        api.compile(
            path_of("t5", "decoder", "dynamo"),
            "host/onnxruntime",
            tmp_path / "out",
            dataclasses.replace(plain, language_model=wanted),
        )
    assert not (tmp_path / "out").exists()


def test_halves_that_do_not_belong_together_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"takes states .*, and the encoder gives \[1, 12, 48\]"):
        api.compile(
            path_of("whisper", "decoder", "dynamo"), "host/onnxruntime", tmp_path / "out", options("t5", "dynamo")
        )


def test_a_decoder_alone_takes_no_encoder(tmp_path):
    path = model_folder("decoders") / "gpt2_dynamo.onnx"
    with pytest.raises(InputError, match="reads no states of an encoder"):
        api.compile(path, "host/onnxruntime", tmp_path / "out", options("t5", "dynamo"))


class Numbers:
    """Stands for a tokenizer: texts are numbers."""

    end_tokens = frozenset()

    def stream(self, before=()):
        """Return what turns tokens into text."""
        return self

    def feed(self, token):
        """Return a token's text."""
        return f"{token} "
