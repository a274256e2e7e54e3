"""A compiled language model's perplexity does not depend on the path that reads the text."""

import json

import numpy as np
import pytest

from npuopt.evaluate import perplexity
from support.command import complaint, npuopt
from support.toy_decoder import CONTEXT, Weights, write_artifact


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "ids.npy"
    np.save(path, np.random.default_rng(3).integers(0, 2048, 4 * CONTEXT + 1).astype(np.uint16))
    return path


@pytest.fixture(scope="module", params=["new", "in-place", "whole"])
def artifact(request, tmp_path_factory):
    return write_artifact(tmp_path_factory.mktemp("toy") / "artifact", request.param)


def report(*arguments: object) -> dict:
    done = npuopt("evaluate", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_decode_and_prefill_agree_with_the_model_without_a_cache(artifact, text) -> None:
    weights = Weights.drawn()
    expected = perplexity(lambda rows: weights.logits(rows[0].tolist())[None], np.load(text), window=CONTEXT)
    for profile in (["--profile", "decode"], ["--profile", "prefill"], []):
        found = report(artifact, "--data", text, "--task", "perplexity", "--resamples", 10, *profile)
        assert found["value"] == pytest.approx(expected, rel=1e-4)
        assert found["samples"] == 4


def test_against_another_artifact(artifact, text, tmp_path) -> None:
    other = write_artifact(tmp_path / "other", seed=1)
    same = report(artifact, "--data", text, "--task", "next-tokens", "--against", artifact, "--limit", 2)
    assert same["kl_divergence"] == pytest.approx(0, abs=1e-9)
    assert (same["next_token_agreement"], same["tokens"]) == (1, 2 * CONTEXT)
    differs = report(artifact, "--data", text, "--task", "next-tokens", "--against", other)
    assert differs["kl_divergence"] > 1
    assert differs["next_token_agreement"] < 0.2


def test_what_does_not_go_together(artifact, text, tmp_path) -> None:
    assert "compares two models" in complaint(npuopt("evaluate", artifact, "--data", text, "--task", "next-tokens"), 2)
    np.save(tmp_path / "short.npy", np.arange(5))
    short = ["evaluate", artifact, "--data", tmp_path / "short.npy", "--task", "perplexity"]
    assert "too few" in complaint(npuopt(*short), 3)
    np.save(tmp_path / "large.npy", np.full(99, 4096))
    large = ["evaluate", artifact, "--data", tmp_path / "large.npy", "--task", "perplexity"]
    assert "outside the model's vocabulary" in complaint(npuopt(*large), 3)
    np.save(tmp_path / "one.npy", np.where(np.arange(99) == 40, 5000, 7))
    one = ["evaluate", artifact, "--data", tmp_path / "one.npy", "--task", "next-tokens", "--against", artifact]
    assert "token 40 has the id 5000" in complaint(npuopt(*one), 3)
    np.save(tmp_path / "two.npy", np.zeros((2, 99), int))
    two = ["evaluate", artifact, "--data", tmp_path / "two.npy", "--task", "next-tokens", "--against", artifact]
    assert "tokens are int64[2, 99]; one text" in complaint(npuopt(*two), 3)
