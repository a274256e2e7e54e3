"""The language models of the benchmark: how they are compiled, what they are measured with, what must be reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from benchmarks.location import EXAMPLES, models_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PROMPTS = (
    "The capital of France is",
    "My fellow citizens, tonight",
    "Call me Ishmael. Some years ago",
    "To bake bread you need",
    "The largest planet of the solar system",
    "Once upon a time there was a",
    "In order to learn a language",
    "The most important law of physics",
    "She opened the door and",
    "Computers are good at",
)


@dataclass(frozen=True)
class Subject:
    """A model, how it is compiled, and what it is measured with.

    Attributes:
        source: the dynamic model.
        text: token ids that it was not trained on, a .npy.
        calibration: texts to see ranges on.
        context: of the cache.
        chunk: of prefill.
        schemes: of each target: a float one, and those that are quantized; behind a plus, the type of an integer cache.
        most: per cent of perplexity that a quantized one may lose, by the scheme's name.
        prompt: that it goes on from.
        begun: text that it is judged by instead, where its windows begin with a token of their own: an .npz with
            `input_ids` and `labels`, [windows, 1, tokens].
        prompts: that are gone on from beside the float model, with the likeliest token each time.
        embedding: where tokens are looked up.
        texts: other texts than `calibration`, by the scheme that sees them.
        without_steps: standard steps that are left out where activations are quantized.
    """

    source: Path
    text: Path
    calibration: Path
    context: int
    chunk: int
    schemes: Mapping[str, Sequence[str]]
    most: Mapping[str, float]
    prompt: str = "My fellow citizens"
    begun: Path | None = None
    prompts: tuple[str, ...] = ()
    embedding: Literal["graph", "host"] = "graph"
    texts: Mapping[str, Path] = field(default_factory=dict[str, "Path"])
    without_steps: tuple[str, ...] = ()


def subjects() -> dict[str, Subject]:
    """Name every model."""
    llama, gemma = EXAMPLES / "tiny_llama", models_folder() / "gemma"
    return {
        "tiny_llama": Subject(
            source=llama / "model.onnx",
            text=llama / "validation_ids.npy",
            calibration=llama / "calibration_prefill.npz",
            context=128,
            chunk=32,
            schemes={
                "qualcomm/sm8750": ("fp16", "a16w8", "a16w8+int8", "w4", "w4a"),
                "host/x86-64": ("fp32",),
                "host/onnxruntime": ("fp32+int16", "fp32+int8"),
            },
            most={"a16w8": 0.5, "a16w8+int8": 0.5, "w4": 3.0, "w4a": 3.0, "fp32+int16": 0.5, "fp32+int8": 0.5},
        ),
        "gemma": Subject(
            source=gemma / "model.onnx",
            text=gemma / "evaluation.npz",
            calibration=gemma / "calibration.npz",
            context=1024,
            chunk=128,
            schemes={"qualcomm/sm8750": ("a16w8", "w4a"), "host/onnxruntime": ("w4a", "fp32+int16", "fp32+int8")},
            most={"a16w8": 2.0, "w4a": 15.0, "fp32+int16": 1.0, "fp32+int8": 1.0},
            begun=gemma / "evaluation.npz",
            prompts=PROMPTS,
            embedding="host",
            texts={"w4a": gemma / "calibration_mixed.npz"},
            without_steps=("round-weights",),  # GPTQ of 8-bit weights is most of the time
        ),
    }
