"""The benchmark of language models: what it says of an artifact, on a small one with random weights."""

import pytest

from benchmarks import language_models
from benchmarks.language_models import Compiled, Row, Subject
from support.paths import EXAMPLES
from support.toy_decoder import CHUNK, write_artifact

TINY = EXAMPLES / "tiny_llama"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Compiled:
    folder = write_artifact(tmp_path_factory.mktemp("toy") / "artifact")
    text, data = TINY / "validation_ids.npy", TINY / "calibration_prefill.npz"
    subject = Subject(TINY / "model.onnx", text, data, context=24, chunk=CHUNK, schemes={}, most=0.5)
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


def test_a_row_without_a_bar_is_not_missed(artifact) -> None:
    assert language_models.text_of(artifact, Row("cache", "1 byte")) == (
        "| toy | host/onnxruntime, fp32 | cache |  | 1 byte |"
    )
