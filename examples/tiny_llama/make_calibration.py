"""Make calibration.npz, calibration_prefill.npz, sample.npz and validation_ids.npy, the data beside this file.

Run `python make_calibration.py TRAINING_IDS VALIDATION_IDS`, with two `.npy` files of token ids (README.md says
where they come from). The same inputs give the same arrays.

calibration.npz: 20 decode steps, one new token after 127 others. The keys and values are those that the float model
makes of real training text. They are rounded to the 11 significant bits of float16, which calibration cannot tell
from the originals and which halves the file.
calibration_prefill.npz: 64 whole windows of 128 training tokens, with nothing before them.
sample.npz: one decode step from validation text.
validation_ids.npy: the first 25,601 validation tokens, enough for 200 windows of 128 tokens and their targets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).parent
CONTEXT = 128
LAYERS, KEY_VALUE_HEADS, HEAD_WIDTH = 6, 2, 32
CACHE = [f"{kind}_{layer}" for layer in range(LAYERS) for kind in "kv"]
DECODE_SAMPLES, PREFILL_SAMPLES, VALIDATION_WINDOWS = 20, 64, 200
SEED = 20


def windows(tokens: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw one window of 128 tokens from each of `count` equal stretches of the text: int64 [count, 128]."""
    stretch = len(tokens) // count
    offsets = np.random.default_rng(seed).integers(0, stretch - CONTEXT, count)
    starts = np.arange(count) * stretch + offsets
    return tokens[starts[:, None] + np.arange(CONTEXT)].astype(np.int64)


def decode_step(session: ort.InferenceSession, window: np.ndarray) -> dict[str, np.ndarray]:
    """Return the model's inputs for the last token of `window`, after all tokens before it."""
    empty = np.zeros((1, KEY_VALUE_HEADS, 0, HEAD_WIDTH), np.float32)
    past = {f"past_{name}": empty for name in CACHE}
    made = session.run([f"present_{name}" for name in CACHE], {"input_ids": window[None, :-1], **past})
    step = {"input_ids": window[None, -1:]}
    for name, array in zip(CACHE, made, strict=True):
        step[f"past_{name}"] = array.astype(np.float16).astype(np.float32)
    return step


def save_decode_steps(path: Path, session: ort.InferenceSession, tokens: np.ndarray) -> None:
    """Write one decode step for each window; each array is [samples, *input shape]."""
    steps = [decode_step(session, window) for window in tokens]
    np.savez_compressed(path, **{name: np.stack([step[name] for step in steps]) for name in steps[0]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training_ids", type=Path)
    parser.add_argument("validation_ids", type=Path)
    arguments = parser.parse_args()
    training = np.load(arguments.training_ids, mmap_mode="r")
    validation = np.load(arguments.validation_ids)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(HERE / "model.onnx", options, providers=["CPUExecutionProvider"])

    save_decode_steps(HERE / "calibration.npz", session, windows(training, DECODE_SAMPLES, SEED))
    save_decode_steps(HERE / "sample.npz", session, validation[None, :CONTEXT].astype(np.int64))
    prefill = windows(training, PREFILL_SAMPLES, SEED + 1)
    np.savez_compressed(HERE / "calibration_prefill.npz", input_ids=prefill[:, None])
    np.save(HERE / "validation_ids.npy", validation[: VALIDATION_WINDOWS * CONTEXT + 1].astype(np.uint16))


if __name__ == "__main__":
    main()
