"""PP-OCRv4's text recognizer, 10.9 MB, as the package rapidocr-onnxruntime ships it (Apache-2.0).

Input x [batch, 3, height, width], BGR in -1..1, padded with 0 on the right; output probabilities [batch, width / 8,
6625]. characters.json lists what the 6,625 classes stand for: class 0 is CTC's blank, the last one is a space.
evaluation.npz: 200 rendered lines of English text and digits at 1 x 3 x 48 x 320, with `texts`; calibration.npz: 100
others.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import onnx

from tools.models.recipes.packages import Package, read_member
from tools.models.recipes.samples import save_samples
from tools.models.recipes.sentences import sentences
from tools.models.recipes.text_lines import HEIGHT, WIDTH, load_faces, make_text, render

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = Package("rapidocr-onnxruntime==1.4.4", "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf")
MODEL = "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"
MODEL_SHA256 = "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"
EVALUATION, CALIBRATION = 200, 100
SEED = 3


def characters(model: bytes) -> list[str]:
    """Return what each class stands for, from the model's metadata."""
    metadata = {entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props}
    return ["", *metadata["character"].splitlines(), " "]


def network_input(line: np.ndarray) -> np.ndarray:
    """Turn a uint8 RGB line into float32 [1, 3, 48, 320]."""
    padded = np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
    padded[0, :, :, : line.shape[1]] = line[..., ::-1].transpose(2, 0, 1) / np.float32(127.5) - 1
    return padded


def make(folder: Path, downloads: Path) -> None:
    """Write model.onnx, characters.json, calibration.npz and evaluation.npz."""
    model = read_member(PACKAGE.fetch(downloads), MODEL)
    if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
        raise ValueError(f"{MODEL} is not the file it was")
    (folder / "model.onnx").write_bytes(model)
    alphabet = characters(model)
    (folder / "characters.json").write_text(json.dumps(alphabet, ensure_ascii=False), encoding="utf-8")
    random = np.random.default_rng(SEED)
    faces = load_faces(downloads)
    known = set(alphabet)
    readable = [text.replace("''", '"') for text in sentences(downloads, SEED) if set(text) <= known]
    texts, lines = [], []
    for sentence in readable[: EVALUATION + CALIBRATION]:
        text = make_text(sentence.split(), random)
        texts.append(text)
        lines.append(network_input(render(text, faces[random.integers(len(faces))], random)))
    x = np.stack(lines)
    save_samples(folder / "evaluation.npz", x=x[:EVALUATION], texts=np.array(texts[:EVALUATION]))
    save_samples(folder / "calibration.npz", x=x[EVALUATION:])
