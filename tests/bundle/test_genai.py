"""onnxruntime-genai runs an artifact as it is, and says what the model says."""

import json

import numpy as np
import pytest

from npuopt.bundle import LanguageModelRecord
from npuopt.bundle.genai_config import write_genai
from npuopt.graph.execution import Session
from support.toy_decoder import CONTEXT, HEADS, SIZE, Weights, record, write_artifact

FORMS = ("new", "in-place", "whole")
PROMPT = [45, 89, 707, 1016, 807]
TEXT = [int(token) for token in np.random.default_rng(1).integers(0, 2048, CONTEXT)]


@pytest.fixture(scope="module", params=FORMS)
def form(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(form, tmp_path_factory):
    return write_artifact(tmp_path_factory.mktemp(form) / "artifact", form)


def read(session: Session, parts: list[int]) -> list[np.ndarray]:
    """Feed a text part by part, with caches that grow; return the logits of each part."""
    caches = {name: np.zeros((1, HEADS, 0, SIZE), np.float32) for name in session.inputs[1:]}
    logits, done = [], 0
    for part in parts:
        outputs = session.run({"input_ids": np.array([TEXT[done : done + part]]), **caches})
        made = [outputs[name] for name in session.outputs]
        caches = dict(zip(session.inputs[1:], made[1:], strict=True))
        done += part
        assert {cache.shape for cache in caches.values()} == {(1, HEADS, done, SIZE)}
        logits.append(made[0][0])
    return logits


@pytest.mark.parametrize("parts", [[24], [1] * 24, [7, 1, 1, 5, 10], [23, 1], [4, 4, 16], [2, 22]])
def test_the_joined_model_gives_every_tokens_logits(folder, parts) -> None:
    session = Session(folder / "profiles" / "genai.onnx")
    np.testing.assert_allclose(np.concatenate(read(session, parts)), Weights.drawn().logits(TEXT), atol=1e-4)


def test_logits_of_the_last_token_only(form, tmp_path) -> None:
    folder = write_artifact(tmp_path / "artifact", form, logits="last")
    parts = read(Session(folder / "profiles" / "genai.onnx"), [7, 1, 16])
    expected = Weights.drawn().logits(TEXT)[[6, 7, 23]]
    np.testing.assert_allclose([part[-1] for part in parts], expected, atol=1e-4)


def test_a_decode_profile_alone(form, tmp_path) -> None:
    folder = write_artifact(tmp_path / "artifact", form, chunks=(1,))
    logits = read(Session(folder / "profiles" / "genai.onnx"), [7, 1, 16])
    np.testing.assert_allclose(np.concatenate(logits), Weights.drawn().logits(TEXT), atol=1e-4)


@pytest.mark.genai
def test_onnxruntime_genai_says_what_the_model_says(folder) -> None:
    genai = pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed")
    model = genai.Model(str(folder))
    tokenizer = genai.Tokenizer(model)
    assert list(tokenizer.encode("My fellow citizens")) == PROMPT
    options = genai.GeneratorParams(model)
    options.set_search_options(max_length=CONTEXT, do_sample=False)
    generator = genai.Generator(model, options)
    generator.append_tokens(np.array([PROMPT], np.int32))
    expected = list(PROMPT)
    while len(expected) < CONTEXT:
        generator.generate_next_token()
        expected.append(int(Weights.drawn().logits(expected)[-1].argmax()))
    assert list(generator.get_sequence(0)) == expected


def test_the_configuration(folder) -> None:
    model = json.loads((folder / "genai_config.json").read_text())["model"]
    assert (model["context_length"], model["eos_token_id"]) == (CONTEXT, [0])
    assert model["decoder"]["filename"] == "profiles/genai.onnx"


def changed(**changes: object) -> LanguageModelRecord:
    return record("new").model_copy(update=changes)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (changed(tokens=None, embeddings="vectors"), "takes looked-up vectors"),
        (changed(profiles=record("new").profiles[:1]), "no profile takes one"),
        (
            changed(caches=(record("new").caches[0], record("new").caches[1].model_copy(update={"size": 4}))),
            "gives the caches of all layers one shape",
        ),
        (changed(masks=()), "input mask of profile prefill is none that a caller can make"),
    ],
)
def test_what_it_cannot_run_is_left_out_with_a_reason(tmp_path, other, why) -> None:
    folder = write_artifact(tmp_path / "artifact")
    for name in ("genai_config.json", "profiles/genai.onnx"):
        (folder / name).unlink()
    assert why in write_genai(folder, other)
    assert not (folder / "genai_config.json").exists()
