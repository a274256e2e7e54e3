"""The fetched models and their data belong together: the float model does its task on them."""

import json

import numpy as np
import onnxruntime as ort
import pytest

from npuopt.evaluate import ctc_greedy_decode, exact_match, frame_auc, top1_accuracy
from support.models import model_folder

pytestmark = pytest.mark.models


def evaluate(name: str, every: int = 1) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Run the model on every n-th evaluation sample; return its first output, stacked, and the samples' arrays."""
    folder = model_folder(name)
    with np.load(folder / "evaluation.npz", allow_pickle=False) as archive:
        arrays = {key: archive[key][::every] for key in archive.files}
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    count = len(arrays[names[0]])
    outputs = [session.run(None, {key: arrays[key][index] for key in names})[0] for index in range(count)]
    return np.stack(outputs), arrays


def test_efficientnet_knows_what_most_photographs_show() -> None:
    logits, arrays = evaluate("efficientnet_lite0", every=5)
    assert top1_accuracy(logits[:, 0], arrays["labels"]) > 0.65


def test_the_recognizer_reads_most_lines_but_not_all() -> None:
    scores, arrays = evaluate("ppocr_rec", every=4)
    characters = json.loads((model_folder("ppocr_rec") / "characters.json").read_text(encoding="utf-8"))
    read = [text.strip() for text in ctc_greedy_decode(scores[:, 0], characters)]
    assert 0.8 < exact_match(read, list(arrays["texts"])) < 1


def test_the_detector_marks_lines_and_leaves_paper() -> None:
    probability, arrays = evaluate("ppocr_det", every=4)
    within = np.zeros(probability.shape, bool)
    for inside, boxes in zip(within, arrays["boxes"], strict=True):
        for top, bottom, left, right in boxes:
            inside[..., top:bottom, left:right] = True
    assert probability[within].mean() > 0.2
    assert probability[~within].mean() < 0.01


def test_silero_tells_speech_from_pauses() -> None:
    scores, arrays = evaluate("silero")
    assert frame_auc(scores, arrays["labels"]) > 0.95


def test_minilm_tells_tokens_from_padding() -> None:
    hidden, arrays = evaluate("minilm", every=50)
    assert hidden.shape == (4, 1, 128, 384)
    assert arrays["input_ids"].shape == arrays["attention_mask"].shape == (4, 1, 128)
    assert (arrays["attention_mask"].sum(axis=-1) > 4).all()
    assert not arrays["input_ids"][arrays["attention_mask"] == 0].any()


@pytest.mark.parametrize(
    ("name", "key"), [("minilm", "input_ids"), ("efficientnet_lite0", "input"), ("ppocr_rec", "x"), ("ppocr_det", "x")]
)
def test_calibration_and_evaluation_share_no_sample(name: str, key: str) -> None:
    folder = model_folder(name)
    with np.load(folder / "evaluation.npz") as evaluation, np.load(folder / "calibration.npz") as calibration:
        judged = {sample.tobytes() for sample in evaluation[key]}
        assert not judged & {sample.tobytes() for sample in calibration[key]}
