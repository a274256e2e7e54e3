"""The benchmark of language models: what it says of an artifact, on a small one with random weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import language_models
from benchmarks.language_models import Compiled, Row
from benchmarks.language_quality import begun_losses, greedy_answers
from benchmarks.language_subjects import Subject
from npuopt import evaluate
from npuopt.runtime.generation.tokenizer import Tokenizer
from support.paths import EXAMPLES
from support.toy_decoder import CHUNK, Weights, write_artifact

TINY = EXAMPLES / "tiny_llama"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Compiled:
    folder = write_artifact(tmp_path_factory.mktemp("toy") / "artifact")
    text, data = TINY / "validation_ids.npy", TINY / "calibration_prefill.npz"
    subject = Subject(TINY / "model.onnx", text, data, context=24, chunk=CHUNK, schemes={}, most={})
    return Compiled("toy", subject, "host/onnxruntime", "fp32", folder, 0.0)


def test_compiled_parts_are_held_against_the_same_graphs(artifact) -> None:
    row = language_models.compiled_parts(artifact)
    assert row.is_met
    assert row.measured == "least cosine of logits 1.000000 and 1.000000"


def test_a_wrong_part_is_seen(artifact, monkeypatch) -> None:
    def stepwise(artifact: Compiled, tokens: list[int], engine: str):
        logits = honest(artifact, tokens, engine)
        return logits if engine == "cpu" else -logits

    honest = language_models.stepwise
    monkeypatch.setattr(language_models, "stepwise", stepwise)
    row = language_models.compiled_parts(artifact)
    assert not row.is_met
    assert "**missed:**" in language_models.text_of(artifact, row)


def test_equality_is_with_the_source(artifact) -> None:
    """The toy is not what it is said to come from, and does not pass for it."""
    (row,) = language_models.equality(artifact)
    assert not row.is_met


def test_what_speaking_takes_is_measured_in_a_process_of_its_own(artifact) -> None:
    spoken, cache, _ = language_models.speed(artifact)
    assert "tokens/s, peak memory" in spoken.measured
    assert cache.measured.startswith("128 bytes a token as float32")  # two caches of 2 heads of 8 see all tokens


@pytest.fixture(scope="module")
def by_token(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """Return a model without a cache that says what comes next by the last token alone, and its table of logits."""
    table = np.random.default_rng(3).normal(size=(2048, 2048)).astype(np.float32)
    node = onnx.helper.make_node("Gather", ["table", "input_ids"], ["logits"])
    ids = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, [1, "length"])
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, "length", 2048])
    graph = onnx.helper.make_graph([node], "by_token", [ids], [logits], [onnx.numpy_helper.from_array(table, "table")])
    path = tmp_path_factory.mktemp("source") / "model.onnx"
    opsets = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path, table


def test_both_models_are_judged_by_windows_that_begin_a_text(artifact, by_token, tmp_path) -> None:
    source, table = by_token
    ids, labels = np.random.default_rng(4).integers(0, 2048, (2, 3, 1, 9))
    np.savez(tmp_path / "text.npz", input_ids=ids, labels=labels)
    own, other = begun_losses(artifact.folder, source, tmp_path / "text.npz", 2)
    for made, logits in ((own, Weights.drawn().logits), (other, table.__getitem__)):
        expected = [evaluate.token_losses(logits(ids[index, 0].tolist()), labels[index, 0]) for index in range(2)]
        np.testing.assert_allclose(made, np.concatenate(expected), atol=1e-4)


def test_greedy_answers_of_both_stand_side_by_side(artifact, by_token) -> None:
    source, table = by_token
    (answer,) = greedy_answers(artifact.folder, source, ["My fellow"], 3)
    tokenizer = Tokenizer(artifact.folder / "tokenizer.json", 2048)
    texts = [tokenizer.encode("My fellow")] * 2
    for _ in range(3):
        nexts = Weights.drawn().logits(texts[0])[-1], table[texts[1][-1]]
        texts = [[*text, int(logits.argmax())] for text, logits in zip(texts, nexts, strict=True)]
    own, other = (text[-3:] for text in texts)
    assert (answer.own, answer.other) == (tokenizer.decode(own), tokenizer.decode(other))
    assert answer.same == next((index for index in range(3) if own[index] != other[index]), 3)


def test_texts_that_part_stand_beside_the_float_models(artifact, by_token) -> None:
    source, _ = by_token
    subject = replace(artifact.subject, source=source, prompts=("My fellow", "And so"))
    summary, *texts = language_models.answers(replace(artifact, subject=subject))
    assert summary.measured.startswith("0 of 2 texts the same")
    assert [row.what for row in texts] == ["'My fellow'", "'And so'"]
    assert all("; float: " in row.measured for row in texts)


def test_a_row_without_a_bar_is_not_missed(artifact) -> None:
    assert language_models.text_of(artifact, Row("cache", "1 byte")) == (
        "| toy | host/onnxruntime, fp32 | cache |  | 1 byte |"
    )
