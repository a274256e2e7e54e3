"""A decoder on the command line: recognised, compiled into two profiles, refused with a reason."""

from __future__ import annotations

import json

import onnx
import pytest

from npuopt.bundle import read_manifest
from support.command import complaint, npuopt
from support.paths import ROOT

TINY = ROOT / "examples" / "tiny_llama" / "model.onnx"
CLASSIFIER = ROOT / "examples" / "fashion_mnist" / "model.onnx"
WHERE = ("--target", "host/onnxruntime", "--context", "64")


def test_compile_puts_both_profiles_and_one_set_of_weights_into_one_artifact(tmp_path):
    out = tmp_path / "out"
    tokenizer = TINY.with_name("tokenizer.json")
    done = npuopt("compile", TINY, *WHERE, "--chunk", 16, "--tokenizer", tokenizer, "-o", out, "--verify", "off")
    assert done.returncode == 0, done.stderr
    record = read_manifest(out).language_model
    assert [(profile.name, profile.sequence) for profile in record.profiles] == [("prefill", 16), ("decode", 1)]
    assert record.cache_form == "in-place", "the target's own choice"
    assert record.tokenizer == ("tokenizer.json",)
    weights = TINY.stat().st_size
    assert (out / "profiles" / "weights.data").stat().st_size < 1.01 * weights
    models = {profile.model for profile in record.profiles}
    parts = {f"{profile.folder}/{step.model}" for profile in record.profiles for step in profile.steps}
    assert sum((out / model).stat().st_size for model in models | parts) < 0.2 * weights
    assert sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) < 1.3 * weights
    assert {(cache.input, cache.length) for cache in record.caches} >= {("past_k_0", 64), ("past_v_5", 64)}


def test_check_says_what_it_found():
    done = npuopt("check", TINY, *WHERE, "--chunk", 16, "--json")
    found = json.loads(done.stdout)
    assert found["decoder"]["layers"] == "6"
    assert {name: one["summary"]["npu_fraction"] for name, one in found["profiles"].items()} == {
        "prefill": 1.0,
        "decode": 1.0,
    }


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((CLASSIFIER, *WHERE), 3, "has no attention"),
        ((TINY, *WHERE, "--chunk", 65), 2, "profile prefill of 65 tokens does not fit a context of 64"),
        ((TINY, *WHERE, "--dim", "batch=2"), 2, "dim batch of 2: a language model is compiled for one text at once"),
        ((TINY, *WHERE, "--tokenizer", "nowhere.json"), 3, "there is no such file"),
        ((TINY, "--target", "qualcomm/sm8750", "--context", "64", "--cache", "in-place"), 2, "does not take a cache"),
        ((TINY, "--target", "host/onnxruntime", "--chunk", "64"), 2, "--chunk is for language models"),
        ((TINY, *WHERE, "--cache-scales", "head"), 2, "--cache-scales is for caches of integers"),
        ((TINY, *WHERE, "--precision", "fp32", "--cache-type", "int8"), 2, "are seen on texts"),
        ((TINY, *WHERE, "--max-memory", "1MB"), 4, "more than the 1.0 MB allowed: weights 12.6 MB"),
        ((TINY, *WHERE, "--max-memory", "lots"), 2, "'lots' is no size"),
        ((TINY, *WHERE, "--share-weights"), 2, "the compiler of host/onnxruntime makes no binaries that share weights"),
    ],
    ids=[
        "no decoder",
        "chunk",
        "batch",
        "tokenizer",
        "cache form",
        "no context",
        "scales",
        "no texts",
        "memory",
        "size",
        "no sharing",
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(tmp_path, arguments, code, text):
    done = npuopt("compile", *arguments, "-o", tmp_path / "out")
    assert text in complaint(done, code)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("allowed", "precision", "context"),
    [("13.5MB", "fp32", range(64, 128)), ("5MB", "w8", range(128, 129))],
    ids=["a shorter context", "fewer bits"],
)
def test_what_fits_is_compiled_where_that_is_asked_for(tmp_path, allowed, precision, context):
    where = ("--target", "host/onnxruntime", "--context", 128, "--chunk", 16)
    done = npuopt("compile", TINY, *where, "--max-memory", allowed, "--fit", "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["recipe"]["precision"] == precision
    assert manifest["language_model"]["context_length"] in context
    parts = ("weights_bytes", "cache_bytes", "working_bytes")
    assert sum(manifest["metrics"][name] for name in parts) <= float(allowed[:-2]) * 1e6


def test_a_precision_that_was_asked_for_stays(tmp_path):
    where = ("--target", "host/onnxruntime", "--context", 128, "--precision", "fp32")
    done = npuopt("compile", TINY, *where, "--max-memory", "5MB", "--fit", "-o", tmp_path / "out")
    assert "no context fits beside the weights" in complaint(done, 4)
    assert not (tmp_path / "out").exists()


def test_two_caches_for_the_same_keys_are_told_apart_from_none(tmp_path):
    """New keys are joined with one cache too many: which of them is the cache of the layer cannot be told."""
    model = onnx.load(TINY)
    cache = next(value for value in model.graph.input if value.name == "past_k_0")
    other = onnx.ValueInfoProto()
    other.CopyFrom(cache)
    other.name = "other_k_0"
    model.graph.input.append(other)
    join = next(node for node in model.graph.node if node.op_type == "Concat" and "past_k_0" in node.input)
    join.input.insert(0, "other_k_0")
    onnx.save(model, tmp_path / "two.onnx")
    done = npuopt("compile", tmp_path / "two.onnx", *WHERE, "-o", tmp_path / "out")
    assert "looks like a cache, and no attention takes it as its past" in complaint(done, 3)
    assert not (tmp_path / "out").exists()
