"""The rows of the quantization benchmark: which model, on which data, how many bits, and what must be reached."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.location import EXAMPLES, models_folder
from benchmarks.quality import Classification, Detection, Embedding, Encoding, LabelledTexts, Language, Reading, loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.quality import Task

NPU = "qualcomm/sm8750"

IN_FLOAT = ("Add", "Concat", "Gather", "Mul", "Neg", "RMSNormalization", "Sigmoid", "Softmax", "Split", "/MatMul*")
ROUNDING = str(Path(__file__).parent / "rounding.yaml")
"""ONNX Runtime with Casts behind every op: its CPU kernels round nothing between two ops of float16."""

LINEAR_ONLY = tuple(text for pattern in IN_FLOAT for text in ("--keep", f"{pattern}=fp16"))
"""What NNCF quantizes of this transformer: linear layers, and of attention's products at most one operand."""

ENCODER_IN_FLOAT = ("Add", "Gather", "Gelu", "LayerNormalization", "Softmax", "Where", "*/self/MatMul*")
ENCODER_LINEAR_ONLY = tuple(text for pattern in ENCODER_IN_FLOAT for text in ("--keep", f"{pattern}=fp16"))
"""The same for the sentence encoder, whose embeddings' table NNCF holds in 8 bits besides."""

SPEECH_LINEAR_ONLY = (
    *(text for kept in ("*=fp16", "/encoder.*=a8w8", "/output/Conv*=a8w8") for text in ("--keep", kept)),
    *(text for step in ("widen-activations", "widen-weights") for text in ("--no-step", step)),
)
"""And of the speech detector: its convolutions, without the LSTM, all of them in 8 bits."""

ENDS_IN_8_BITS = ("--keep", "Gather=w8", "--keep", "/MatMul_12=w8")
"""How NNCF holds this transformer's embedding and head beside 4 bits."""

LINEAR_OF_GEMMA = ("--keep", "*=fp16", "--keep", "node_linear*=a8w8")
"""Gemma's linear layers, head included, in integers and everything else in float."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        model: its name.
        scheme: how many bits; w4 and w8 are weights alone.
        folder: holds model.onnx and the calibration data.
        dims: to freeze.
        task: opens what the model is judged by.
        bars: the most that may be lost, by the name of the loss.
        target: for npuopt.
        calibration: file in the folder.
        samples: how many of it are used, by every tool.
        lacks_batch: the samples' arrays have no axis for a batch of one.
        empty: inputs that calibration leaves out, for tools that want them all.
        is_transformer: for tools that ask.
        ahead_db: how much more SQNR than ONNX Runtime's default is asked for.
        options: further options for `npuopt quantize`.
        variant: what tells it from another row of the same model and scheme.
    """

    model: str
    scheme: str
    folder: Path
    dims: Mapping[str, int]
    task: Callable[[], Task]
    bars: Mapping[str, float]
    target: str = NPU
    calibration: str = "calibration.npz"
    samples: int = 32
    lacks_batch: bool = False
    empty: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    is_transformer: bool = False
    ahead_db: float | None = None
    options: tuple[str, ...] = ()
    variant: str = ""

    @property
    def name(self) -> str:
        """Return what the command line calls it."""
        return "-".join(part for part in (self.model, self.scheme, self.variant) if part)


def all_rows() -> list[Row]:
    """Return the rows, in the table's order."""
    integer = [*language_rows(), *gemma_rows(), *image_rows(), *sentence_rows(), *reading_rows(), *speech_rows()]
    return [*integer, *float_rows(integer)]


def float_rows(rows: list[Row]) -> list[Row]:
    """Return the same models in floats of 16 bits, rounded behind every op, and some in floats of 8 bits."""
    first = {row.model: row for row in reversed(rows)}
    plain = [replace(row, bars={}, ahead_db=None, options=(), target=ROUNDING) for row in first.values()]
    small = [row for row in plain if row.model in ("tiny_llama", "fashion_mnist")]
    half = [replace(row, scheme=scheme) for row in reversed(plain) for scheme in ("fp16", "bf16")]
    return [*half, *(replace(row, scheme=scheme) for row in reversed(small) for scheme in ("f8e4m3", "f8e5m2"))]


def language_rows() -> list[Row]:
    folder = EXAMPLES / "tiny_llama"
    empty = {f"past_{kind}_{layer}": np.zeros((1, 2, 0, 32), np.float32) for layer in range(6) for kind in "kv"}

    def task() -> Language:
        return Language.of_text(np.load(folder / "validation_ids.npy"), 128, empty)

    def row(scheme: str, bar: float, target: str = NPU) -> Row:
        return Row(
            "tiny_llama",
            scheme,
            folder,
            {"batch": 1, "seq": 128, "past": 0},
            task,
            {"perplexity": bar},
            target=target,
            calibration="calibration_prefill.npz",
            samples=64,
            empty=empty,
            is_transformer=True,
        )

    return [
        row("a16w8", 0.003),
        row("a8w8", 0.015),
        replace(row("a8w8", 0.015), variant="linear", options=LINEAR_ONLY),
        row("a16w4", 0.04),
        row("w4", 0.03, "host/onnxruntime"),
        replace(row("w4", 0.03, "host/onnxruntime"), variant="inner", options=ENDS_IN_8_BITS),
    ]


def gemma_rows() -> list[Row]:
    folder = models_folder() / "gemma"

    def task() -> Language:
        data = loaded(folder / "evaluation.npz", "input_ids", "labels")
        return Language(data["input_ids"], data["labels"])

    def row(scheme: str, bar: float, target: str) -> Row:
        return Row(
            "gemma",
            scheme,
            folder,
            {"batch": 1, "sequence": 341},
            task,
            {"perplexity": bar},
            target=target,
            samples=12,
            is_transformer=True,
        )

    host = "host/onnxruntime"
    more = {"calibration": "calibration_mixed.npz", "samples": 48}
    blocked = [replace(row(scheme, 0.15, host), **more) for scheme in ("w4", "w4a")]
    options = (*LINEAR_OF_GEMMA, "--no-step", "round-weights", "--verify", "off")
    linear = replace(row("a8w8", 0.15, NPU), variant="linear", options=options)
    by_channel = row("w8", 0.01, host)
    by_block = replace(by_channel, variant="blocks", options=("--precision", "w8b32"))
    return [by_channel, by_block, *blocked, row("a16w8", 0.02, NPU), linear]


def image_rows() -> list[Row]:
    fashion, fetched = EXAMPLES / "fashion_mnist", models_folder() / "efficientnet_lite0"

    def clothes() -> Classification:
        whole = models_folder() / "fashion_mnist" / "evaluation.npz"
        path = whole if whole.is_file() else fashion / "test.npz"
        images = loaded(path, "input")["input"]
        return Classification({"input": images.reshape(-1, 1, 1, 28, 28)}, loaded(path, "labels")["labels"])

    def photographs() -> Classification:
        return Classification(loaded(fetched / "evaluation.npz"))

    return [
        *(
            Row(
                "fashion_mnist",
                scheme,
                fashion,
                {"batch": 1},
                clothes,
                {"points": points},
                samples=512,
                lacks_batch=True,
            )
            for scheme, points in (("a8w8", 0.3), ("a8w4", 1.0))
        ),
        Row(
            "efficientnet_lite0",
            "a8w8",
            fetched,
            {"batch": 1},
            photographs,
            {"disagreement": 0.05},
            samples=80,
            ahead_db=3.0,
        ),
    ]


def sentence_rows() -> list[Row]:
    folder, tasks = models_folder() / "minilm", models_folder() / "minilm_tasks"
    names = ("reviews", "spam") if tasks.is_dir() else ()

    def task() -> Encoding:
        sentences = Embedding(loaded(folder / "evaluation.npz"))
        return Encoding(sentences, {name: LabelledTexts.of(tasks, name) for name in names})

    def row(scheme: str, cosine: float, points: float) -> Row:
        dims = {"batch": 1, "seq": 128}
        bars = {"cosine": 1 - cosine, **dict.fromkeys(names, points)}
        return Row("minilm", scheme, folder, dims, task, bars, is_transformer=True)

    linear = replace(row("a8w8", 0.99, 0.5), variant="linear", options=ENCODER_LINEAR_ONLY)
    return [row("a8w8", 0.99, 0.5), linear, row("a16w8", 0.9995, 0.2)]


def reading_rows() -> list[Row]:
    folder = models_folder() / "ppocr_rec"
    dims = {"x:0": 1, "x:2": 48, "x:3": 320}

    row = partial(Row, "ppocr_rec", folder=folder, dims=dims, task=lambda: Reading.of(folder))
    return [
        row("a16w8", bars={"points": 0.5}),
        row("a8w8", bars={"points": 2.0}),
    ]


def speech_rows() -> list[Row]:
    folder = models_folder() / "silero"

    # The squares of its spectrum span ten orders of magnitude; the other tools leave Pow and Sqrt in float unasked.
    spectrum = ("--keep", "/stft/*=fp16")

    def task() -> Detection:
        path = folder / "evaluation.npz"
        return Detection(loaded(path), loaded(path, "labels")["labels"])

    row = partial(
        Row, "silero", folder=folder, dims={"sequence_length": 32}, task=task, bars={"area": 0.002}, samples=60
    )
    ranked = ("--step", "widen-activations{outputs=true}")  # 256 probabilities merge frames that the curve tells apart
    a8w8 = row("a8w8", options=(*spectrum, *ranked))
    return [row("a16w8", options=spectrum), a8w8, replace(a8w8, variant="linear", options=SPEECH_LINEAR_ONLY)]
