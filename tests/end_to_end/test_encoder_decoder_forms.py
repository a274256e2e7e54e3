"""Encoder-decoders: caches of integers, the embedding on the host, decoders in other forms, and evaluation."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import onnx.compose
import pytest

from npuopt import api
from npuopt.errors import InputError
from npuopt.runtime import open_decoder
from support.command import complaint, npuopt
from support.encoder_decoders import SOUND, SOURCE, TOKENS, expected, options, path_of, save_texts

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """Return a compiled T5."""
    folder = tmp_path_factory.mktemp("t5") / "artifact"
    api.compile(path_of("t5", "decoder", "dynamo"), "host/onnxruntime", folder, options("t5", "dynamo"))
    return folder


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


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
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


def evaluated(artifact, data, *more):
    against = path_of("t5", "decoder", "dynamo")
    return npuopt("evaluate", artifact, "--task", "next-tokens", "--against", against, "--data", data, *more)


def test_answers_are_held_against_those_of_the_exported_halves(artifact, tmp_path):
    texts = save_texts(tmp_path / "texts.npz")
    halves = ("--encoder", path_of("t5", "encoder", "dynamo"), "--json")
    for profile in ((), ("--profile", "decode")):
        done = evaluated(artifact, texts, *halves, "--limit", 3, *profile)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["answers"], report["tokens"], report["next_token_agreement"]) == (3, 3 * 39, 1.0)
        assert report["kl_divergence"] < 1e-8
        assert report["perplexity"] == pytest.approx(report["reference_perplexity"], rel=1e-5)


def test_what_an_evaluation_of_answers_lacks_is_named(artifact, tmp_path):
    texts = save_texts(tmp_path / "texts.npz")
    np.savez(tmp_path / "ids.npz", input_ids=np.zeros((2, 9), np.int64))
    np.save(tmp_path / "ids.npy", np.zeros(90, np.int64))
    halves = ("--encoder", path_of("t5", "encoder", "dynamo"))
    assert "is compared with both halves" in complaint(evaluated(artifact, texts), 2)
    assert "the data has no array 'source'" in complaint(evaluated(artifact, tmp_path / "ids.npz", *halves), 3)
    of_whisper = ("--encoder", path_of("whisper", "encoder", "dynamo"))
    assert "has no input 'input_ids'" in complaint(evaluated(artifact, texts, *of_whisper), 3)
    done = npuopt("evaluate", artifact, "--task", "perplexity", "--data", tmp_path / "ids.npy")
    assert "an encoder-decoder is evaluated by --task next-tokens" in complaint(done, 2)


def test_a_decoder_that_is_given_the_sources_keys_is_refused(artifact, tmp_path):
    """Weights that make them are in another file then, as `decoder_with_past_model.onnx` has it."""
    given = artifact / "profiles" / "decode.onnx"
    with pytest.raises(InputError, match="takes keys and values of an encoder, and does not compute them"):
        api.compile(given, "host/onnxruntime", tmp_path / "out", options("t5", "dynamo"))
