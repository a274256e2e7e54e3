"""Encoder-decoders with random weights, as torch's exporters write them, and what their halves compute."""

from __future__ import annotations

import numpy as np

from npuopt.graph import Session
from npuopt.road.options import CompileOptions, LanguageModelOptions
from support.models import model_folder

TOKENS = np.random.default_rng(0).integers(0, 100, 40).tolist()
SOURCE = np.random.default_rng(1).integers(0, 100, 9)
SOUND = np.random.default_rng(2).normal(size=(8, 40)).astype(np.float32)
LENGTH = 12
"""Tokens of a source; shorter ones are padded."""


def path_of(name, part, exporter):
    return model_folder("encoder_decoders") / f"{name}_{part}_{exporter}.onnx"


def options(name, exporter, **more):
    wanted = LanguageModelOptions(
        context=48,
        chunk=8,
        encoder=path_of(name, "encoder", exporter),
        source_length=LENGTH,
        start_token=0,
        **more,
    )
    return CompileOptions(precision="fp32", language_model=wanted)


def expected(name, exporter, source, tokens):
    """Return the logits of all tokens, computed by the two halves as they were exported."""
    encoder = Session(path_of(name, "encoder", exporter), threads=1)
    decoder = Session(path_of(name, "decoder", exporter), threads=1)
    mask = np.ones((1, len(source)), np.int64)
    given = (
        {"input_features": source[None]} if name == "whisper" else {"input_ids": source[None], "attention_mask": mask}
    )
    states = next(iter(encoder.run(given).values()))
    feeds = {"input_ids": np.array([tokens]), "encoder_hidden_states": states, "encoder_attention_mask": mask}
    return decoder.run({key: feeds[key] for key in decoder.inputs})["logits"][0]


def save_texts(path, *, answers=6):
    random = np.random.default_rng(3)
    sources = np.stack([np.r_[random.integers(0, 100, 9), [-1] * 3] for _ in range(6)])
    np.savez(path, source=sources, input_ids=random.integers(0, 100, (answers, 40)))
    return path
