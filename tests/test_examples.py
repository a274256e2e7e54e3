"""The bundled models and data are what examples/README.md says."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from support.paths import EXAMPLES

LLAMA = EXAMPLES / "tiny_llama"
FASHION = EXAMPLES / "fashion_mnist"


def session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def size() -> int:
    return sum(path.stat().st_size for path in EXAMPLES.rglob("*") if path.is_file() and path.suffix != ".pyc")


def samples(path: Path) -> list[dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    count = len(next(iter(arrays.values())))
    return [{name: array[index] for name, array in arrays.items()} for index in range(count)]


def test_they_stay_small() -> None:
    assert size() < 20_000_000


@pytest.mark.parametrize(("file", "count"), [("calibration.npz", 20), ("sample.npz", 1)])
def test_decode_steps_are_real_inputs_of_the_language_model(file: str, count: int) -> None:
    steps = samples(LLAMA / file)
    assert len(steps) == count
    model = session(LLAMA / "model.onnx")
    for step in steps[:2]:
        assert step["input_ids"].shape == (1, 1)
        assert step["past_k_0"].shape == (1, 2, 127, 32)
        logits, present = model.run(["logits", "present_k_0"], step)
        assert logits.shape == (1, 1, 2048)
        np.testing.assert_array_equal(present[:, :, :127], step["past_k_0"])


def test_no_decode_step_is_there_twice() -> None:
    caches = np.stack([step["past_v_5"] for step in samples(LLAMA / "calibration.npz")])
    assert len(np.unique(caches.reshape(len(caches), -1), axis=0)) == len(caches)


def test_the_sample_is_the_first_validation_window() -> None:
    tokens = np.load(LLAMA / "validation_ids.npy", allow_pickle=False).astype(np.int64)
    empty = {f"past_{kind}_{layer}": np.zeros((1, 2, 0, 32), np.float32) for layer in range(6) for kind in "kv"}
    whole = session(LLAMA / "model.onnx").run(["logits"], {"input_ids": tokens[None, :128], **empty})[0]
    (step,) = samples(LLAMA / "sample.npz")
    stepped = session(LLAMA / "model.onnx").run(["logits"], step)[0]
    np.testing.assert_allclose(stepped[0, 0], whole[0, -1], atol=0.02)  # the caches are rounded to float16


def test_prefill_calibration_has_whole_windows_that_are_not_validation_text() -> None:
    windows = np.stack([sample["input_ids"] for sample in samples(LLAMA / "calibration_prefill.npz")])
    assert windows.shape == (64, 1, 128)
    assert windows.dtype == np.int64
    validation = np.load(LLAMA / "validation_ids.npy", allow_pickle=False)
    slices = np.lib.stride_tricks.sliding_window_view(validation, 16).astype(np.int64)
    for window in windows[:, 0, :16]:
        assert not (slices == window).all(axis=1).any()


def test_the_classifier_is_as_good_as_the_readme_says() -> None:
    with np.load(FASHION / "test.npz", allow_pickle=False) as archive:
        images, labels = archive["input"], archive["labels"]
    logits = session(FASHION / "model.onnx").run(["logits"], {"input": images})[0]
    assert (logits.argmax(axis=1) == labels).mean() == pytest.approx(0.9175)


def test_classifier_calibration_holds_no_test_image() -> None:
    with np.load(FASHION / "test.npz") as test, np.load(FASHION / "calibration.npz") as calibration:
        tested = {image.tobytes() for image in test["input"]}
        calibrated = {image.tobytes() for image in calibration["input"]}
    assert len(calibrated) == 512
    assert not tested & calibrated
