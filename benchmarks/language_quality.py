"""A compiled language model beside the float one: losses on windows that begin a text, and greedy answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt import evaluate
from npuopt.graph.execution import Session
from npuopt.runtime import GenerateOptions, open_decoder, open_generator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

PIECE = 128
"""Tokens whose logits are held at a time."""


@dataclass(frozen=True)
class Answer:
    """What a model goes on with.

    Attributes:
        own: the compiled model's text.
        other: the float model's.
        same: tokens ahead of the first that differs.
    """

    own: str
    other: str
    same: int


def begun_losses(artifact: Path, source: Path, data: Path, limit: int) -> tuple[Floats, Floats]:
    """Return the loss of each prediction by an artifact's prefill and by the float model, in nats.

    Args:
        artifact: compiled.
        source: the float model; its one input takes token ids.
        data: an .npz with `input_ids` and `labels`, [windows, 1, tokens].
        limit: windows at most.
    """
    with np.load(data, allow_pickle=False) as archive:
        ids, labels = archive["input_ids"][:limit], archive["labels"][:limit]
    decoder, own = open_decoder(artifact, threads=1), list[np.ndarray]()
    for tokens, targets in zip(ids[:, 0].tolist(), labels[:, 0], strict=True):
        decoder.forget()
        for start in range(0, len(tokens), PIECE):
            part = slice(start, start + PIECE)
            own += _losses(decoder.read_all(tokens[part], "prefill"), targets[part])
    del decoder  # one model in memory at a time
    session, other = Session(source, threads=1, optimize=True), list[np.ndarray]()
    for tokens, targets in zip(ids, labels[:, 0], strict=True):
        logits = session.run(
            {session.inputs[0]: tokens},
        )[session.outputs[0]][0]
        other += _losses(logits, targets)
    return np.stack(own), np.stack(other)


def _losses(logits: Floats, targets: NDArray[np.integer]) -> list[np.ndarray]:
    """Return losses row by row: a row of a large vocabulary takes a megabyte, and more while it is computed on."""
    return [evaluate.token_losses(row, target) for row, target in zip(logits, targets, strict=True)]


def greedy_answers(artifact: Path, source: Path, prompts: Sequence[str], count: int) -> list[Answer]:
    """Go on from each prompt with the likeliest token, `count` times, with the artifact and with the float model."""
    generator, options = open_generator(artifact, threads=1), GenerateOptions(max_tokens=count, past_end=True)
    tokenizer, said, read = generator.tokenizer, list[list[int]](), list[list[int]]()
    for prompt in prompts:
        generator.forget()
        tokens = [piece.token for piece in generator.generate(prompt, options) if piece.token is not None]
        said.append(tokens)
        read.append(tokenizer.encode(prompt))
    del generator
    session, answers = Session(source, threads=1, optimize=True), list[Answer]()
    for tokens, own in zip(read, said, strict=True):
        text = list(tokens)
        for _ in range(count):
            logits = session.run({session.inputs[0]: np.array([text])})[session.outputs[0]]
            text.append(int(logits[0, -1].argmax()))
        other = text[len(tokens) :]
        same = next((index for index, pair in enumerate(zip(own, other, strict=True)) if pair[0] != pair[1]), count)
        answers.append(Answer(tokenizer.decode(own), tokenizer.decode(other), same))
    return answers
