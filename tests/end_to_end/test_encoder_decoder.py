"""Encoder-decoders from both of torch's exporters: three static parts that compute what the halves computed."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import onnx.compose
import pytest
import tokenizers

from npuopt import api
from npuopt.errors import InputError, UsageError
from npuopt.graph import Session
from npuopt.road.built import Built
from npuopt.road.decoding import cache_form, open_halves
from npuopt.road.language_model import build_profiles
from npuopt.road.options import CompileOptions, LanguageModelOptions, silent
from npuopt.road.source_parts import build_parts
from npuopt.runtime import GenerateOptions, Generator, open_decoder, restore_session, save_session
from npuopt.target import load_target
from support.command import complaint, npuopt
from support.models import model_folder

pytestmark = pytest.mark.models

TOKENS = np.random.default_rng(0).integers(0, 100, 40).tolist()
SOURCE = np.random.default_rng(1).integers(0, 100, 9)
SOUND = np.random.default_rng(2).normal(size=(8, 40)).astype(np.float32)
LENGTH = 12
"""Tokens of a source; shorter ones are padded."""
HALVES = [(name, half) for name in ("t5", "whisper") for half in ("decoder", "cached_decoder")]
every_exporter = pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
every_half = pytest.mark.parametrize(("name", "half"), HALVES)


def path_of(name, part, exporter):
    return model_folder("encoder_decoders") / f"{name}_{part}_{exporter}.onnx"


def options(name, exporter, **more):
    wanted = LanguageModelOptions(
        context=48,
        chunk=8,
        encoder=path_of(name, "encoder", exporter),
        source_length=LENGTH,
        start_token=0,
        **more,
    )
    return CompileOptions(precision="fp32", language_model=wanted)


def expected(name, exporter, source, tokens):
    """Return the logits of all tokens, computed by the two halves as they were exported."""
    encoder = Session(path_of(name, "encoder", exporter), threads=1)
    decoder = Session(path_of(name, "decoder", exporter), threads=1)
    mask = np.ones((1, len(source)), np.int64)
    given = (
        {"input_features": source[None]} if name == "whisper" else {"input_ids": source[None], "attention_mask": mask}
    )
    states = next(iter(encoder.run(given).values()))
    feeds = {"input_ids": np.array([tokens]), "encoder_hidden_states": states, "encoder_attention_mask": mask}
    return decoder.run({key: feeds[key] for key in decoder.inputs})["logits"][0]


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


def save_texts(path, *, answers=6):
    random = np.random.default_rng(3)
    sources = np.stack([np.r_[random.integers(0, 100, 9), [-1] * 3] for _ in range(6)])
    np.savez(path, source=sources, input_ids=random.integers(0, 100, (answers, 40)))
    return path


@pytest.mark.parametrize(("cache", "least"), [("int16", 0.99999), ("int8", 0.999)])
def test_caches_of_integers_see_their_ranges_on_answers_to_sources(cache, least, tmp_path):
    wanted = dataclasses.replace(
        options("t5", "dynamo", cache_type=cache, embedding="host"), calibration=save_texts(tmp_path / "texts.npz")
    )
    folder = tmp_path / "artifact"
    record = api.compile(path_of("t5", "decoder", "dynamo"), "host/onnxruntime", folder, wanted).language_model
    assert {held.dtype for held in record.caches} == {f"u{cache}"}
    assert record.embedding is not None
    decoder = open_decoder(folder, threads=1)
    decoder.read_source(SOURCE)
    got, known = decoder.read_all(TOKENS), expected("t5", "dynamo", SOURCE, TOKENS)
    cosines = (got * known).sum(-1) / np.linalg.norm(got, axis=-1) / np.linalg.norm(known, axis=-1)
    assert cosines.min() > least


def test_fewer_answers_than_sources_are_named(tmp_path):
    texts = save_texts(tmp_path / "texts.npz", answers=5)
    given = dataclasses.replace(options("t5", "dynamo", cache_type="int8"), calibration=texts)
    with pytest.raises(InputError, match="has 6 sources for 5 texts"):
        api.compile(path_of("t5", "decoder", "dynamo"), "host/onnxruntime", tmp_path / "out", given)


@pytest.mark.parametrize("name", ["t5", "whisper"])
def test_the_embedding_may_stay_on_the_host(name, tmp_path):
    """The encoder keeps its own lookup."""
    source, folder = SOUND if name == "whisper" else SOURCE, tmp_path / "artifact"
    api.compile(
        path_of(name, "decoder", "dynamo"), "host/onnxruntime", folder, options(name, "dynamo", embedding="host")
    )
    decoder = open_decoder(folder, threads=1)
    decoder.read_source(source)
    np.testing.assert_allclose(decoder.read_all(TOKENS), expected(name, "dynamo", source, TOKENS), rtol=0, atol=1e-4)


def merged(tmp_path, exporter, *, second="decoder"):
    """Return both decoders in one graph, as optimum merges them: a switch says which of them runs."""
    with_past, without = (onnx.load(path_of("t5", half, exporter)) for half in ("cached_decoder", second))
    outputs = [output.name for output in with_past.graph.output]
    kept = [next(output for output in without.graph.output if output.name == name) for name in outputs]
    branches = []
    for prefix, model, results in (("a_", with_past, with_past.graph.output), ("b_", without, kept)):
        given = {value.name for value in model.graph.input}
        part = onnx.compose.add_prefix_graph(model.graph, prefix, rename_inputs=False, rename_outputs=False)
        names = {f"{prefix}{value}": value for value in given}
        assert not names.keys() & {name for node in part.node for name in node.input}
        body = onnx.helper.make_graph(part.node, f"{prefix}branch", [], [], initializer=part.initializer)
        body.output.extend(onnx.helper.make_tensor_value_info(f"{prefix}out_{one.name}", 1, None) for one in results)
        body.node.extend(onnx.helper.make_node("Identity", [one.name], [f"{prefix}out_{one.name}"]) for one in results)
        branches.append(body)
    switch = onnx.helper.make_tensor_value_info("use_cache_branch", onnx.TensorProto.BOOL, [1])
    choice = onnx.helper.make_node(
        "If", ["use_cache_branch"], outputs, then_branch=branches[0], else_branch=branches[1]
    )
    graph = onnx.helper.make_graph([choice], "merged", [*with_past.graph.input, switch], list(with_past.graph.output))
    path = tmp_path / "decoder_model_merged.onnx"
    onnx.save(onnx.helper.make_model(graph, ir_version=10, opset_imports=with_past.opset_import), path)
    return path


@every_exporter
def test_of_two_branches_the_one_without_a_cache_is_taken(exporter, tmp_path):
    folder = tmp_path / "artifact"
    api.compile(merged(tmp_path, exporter), "host/onnxruntime", folder, options("t5", exporter))
    decoder = open_decoder(folder, threads=1)
    decoder.read_source(SOURCE)
    np.testing.assert_allclose(decoder.read_all(TOKENS), expected("t5", exporter, SOURCE, TOKENS), rtol=0, atol=1e-4)


def test_two_branches_with_a_cache_are_refused(tmp_path):
    with pytest.raises(InputError, match="both its branches take a cache"):
        api.compile(
            merged(tmp_path, "dynamo", second="cached_decoder"),
            "host/onnxruntime",
            tmp_path / "out",
            options("t5", "dynamo"),
        )


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


def test_a_decoder_that_is_given_the_sources_keys_is_refused(artifact, tmp_path):
    """Weights that make them are in another file then, as `decoder_with_past_model.onnx` has it."""
    given = artifact / "profiles" / "decode.onnx"
    with pytest.raises(InputError, match="takes keys and values of an encoder, and does not compute them"):
        api.compile(given, "host/onnxruntime", tmp_path / "out", options("t5", "dynamo"))


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
