"""The quantization benchmark: its scores, its verdicts, and one quantizer that runs without npuopt."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import quantize
from benchmarks.judging import in_floats, judged
from benchmarks.quality import Classification, Embedding, Encoding, LabelledTexts, Language, Score
from benchmarks.quantize_peer import TOOLS, Job, with_dims
from benchmarks.quantize_rows import all_rows
from npuopt.graph.execution import Session
from support.models import model_folder

PRODUCT = """<ir_version: 8, opset_import: ["" : 17]>
product (float[batch, 4] x) => (float[batch, 3] y) <float[4, 3] w = {%s}> { y = MatMul(x, w) }
""" % ", ".join(str(number / 7) for number in range(12))  # noqa: UP031 -- the text is full of braces

HELD = """<ir_version: 8, opset_import: ["" : 17]>
held (float[1, 3] x) => (float[1, 2] y)
<float s = {0.05}, uint8 z = {128}, float[3, 2] w = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6}, float t = {0.07}, int8 p = {0}>
{ q = QuantizeLinear(x, s, z) a = DequantizeLinear(q, s, z)
  i = QuantizeLinear(w, t, p) b = DequantizeLinear(i, t, p) y = MatMul(a, b) }
"""


def test_a_language_model_is_judged_by_the_same_predictions() -> None:
    before = np.array([1.0, 2.0, 3.0])
    score = Language.of_text(np.arange(4), 3, {}).score(before, before + 0.1)
    assert score.losses["perplexity"] == pytest.approx(np.exp(0.1) - 1)
    assert score.text == "perplexity 7.389 -> 8.166 (+10.52% +- 0.00%), 3 predictions"


def test_a_classifier_loses_points_agreement_and_decibels() -> None:
    before, after = np.eye(4, 10, dtype=np.float32), np.eye(4, 10, dtype=np.float32)
    after[0] = [0, 2, *[0] * 8]
    losses = Classification({}, np.arange(4)).score(before, after).losses
    assert losses["points"] == 25
    assert losses["disagreement"] == 0.25
    assert losses["noise_db"] == pytest.approx(-10 * np.log10(4 / 5))


def test_texts_are_sorted_by_a_head_on_their_embeddings() -> None:
    texts = Embedding({})
    task = LabelledTexts(texts, np.array([1, 0, 1, 0]), np.array([1.0, 0.0]), -0.5)
    before = np.array([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    after = before.copy()
    after[0] = [0.4, 0.9]
    score = Encoding(texts, {"reviews": task}).score({"": before, "reviews": before}, {"": before, "reviews": after})
    assert score.losses == {"cosine": 0, "reviews": 25}
    assert score.text.endswith("reviews 100.0% -> 75.0% of 4 (0 won, 1 lost: -25.00 +- 42.44 points)")


def result(tool: str, **losses: float) -> quantize.Result:
    return quantize.Result(tool, 1.0, 1.0, Score("", losses))


def test_the_verdict_names_missed_bars_and_whoever_loses_less() -> None:
    row = next(row for row in all_rows() if row.name == "efficientnet_lite0-a8w8")
    ours = result("npuopt", disagreement=0.06, noise_db=-20)
    peers = [result("ort-minmax", disagreement=0.07, noise_db=-17.5), result("nncf", disagreement=0.05, noise_db=-19)]
    failed = quantize.Result("ort-entropy", 1.0, 1.0, failure="out of memory")
    everyone = [ours, failed, *peers]
    assert quantize.verdict(row, ours, everyone) == "misses disagreement, noise_db; disagreement behind nncf"
    assert quantize.verdict(row, peers[1], everyone) == "misses noise_db"
    assert quantize.verdict(row, failed, everyone) == "fails"


def test_every_row_has_a_name_of_its_own_and_judges_by_losses_of_its_task() -> None:
    rows = all_rows()
    assert len({row.name for row in rows}) == len(rows)
    example = next(row for row in rows if row.name == "fashion_mnist-a8w8")
    logits = np.eye(10, dtype=np.float32)
    losses = Classification({}, np.arange(10)).score(logits, logits).losses
    assert set(example.bars) <= set(losses)


def test_a_peer_quantizes_the_frozen_model_with_the_samples_it_is_given(tmp_path) -> None:
    source, output = tmp_path / "model.onnx", tmp_path / "quantized.onnx"
    onnx.save(onnx.parser.parse_model(PRODUCT), source)
    x = np.random.default_rng(0).normal(size=(8, 1, 4)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=x)
    job = Job("ort-minmax", str(source), str(output), "a8w8", str(tmp_path / "samples.npz"), 4.0, {"batch": 1})
    TOOLS[job.tool](job)
    ops = [node.op_type for node in onnx.load(output).graph.node]
    assert "QuantizeLinear" in ops
    exact, close = (Session(path).run({"x": x[0]})["y"] for path in (source, output))
    assert 0 < np.abs(exact - close).max() < 0.05


def test_a_source_without_scales_by_channel_is_converted_for_the_peers(tmp_path) -> None:
    source, output = tmp_path / "model.onnx", tmp_path / "quantized.onnx"
    onnx.save(onnx.parser.parse_model(PRODUCT.replace(": 17", ": 12")), source)
    np.savez(tmp_path / "samples.npz", x=np.ones((2, 1, 4), np.float32))
    TOOLS["ort-minmax"](Job("ort-minmax", str(source), str(output), "a8w8", str(tmp_path / "samples.npz"), 4.0, {}))
    assert Session(output).run({"x": np.ones((1, 4), np.float32)})["y"].shape == (1, 3)


def test_weights_are_dequantized_once_to_be_judged(tmp_path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(HELD), path)
    x = np.random.default_rng(0).normal(size=(1, 3)).astype(np.float32)
    made, expected = (session.run({"x": x})["y"] for session in (judged(path), Session(path)))
    assert np.allclose(made, expected, rtol=1e-6)
    in_floats(model := onnx.load(path))
    assert [node.op_type for node in model.graph.node] == ["QuantizeLinear", "DequantizeLinear", "MatMul"]
    assert {tensor.name for tensor in model.graph.initializer} == {"s", "z", "b"}


def test_dims_are_frozen_by_name_or_by_place() -> None:
    model = onnx.parser.parse_model(PRODUCT)
    for wanted in ({"batch": 2}, {"x:0": 2}):
        fixed = with_dims(model, wanted)
        assert [dim.dim_value for dim in fixed.graph.input[0].type.tensor_type.shape.dim] == [2, 4]


def test_a_failure_is_reported_with_its_last_words(tmp_path) -> None:
    row = all_rows()[0]
    calibration = tmp_path / "calibration.npz"
    (tmp_path / "nncf.onnx").write_bytes(b"left by an earlier run")
    made = quantize.measure_tool(row, "nncf", row.task(), None, quantize.Peers(Path(sys.executable), 4.0), calibration)
    assert made.score is None
    assert made.failure
    assert quantize.verdict(row, made, [made]) == "fails"


@pytest.mark.models
def test_the_float_model_loses_nothing_against_itself() -> None:
    model_folder("silero")
    row = next(row for row in all_rows() if row.model == "silero")
    task, before = quantize.in_float(row, 8)
    assert len(before) == 8
    assert max(value for key, value in task.score(before, before).losses.items() if key != "noise_db") == 0
