"""Beside the road: compiled language models on a text, window by window, by the path that generation takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from npuopt.bundle import read_manifest
from npuopt.delegates.contract import Limits
from npuopt.errors import InputError, UsageError
from npuopt.evaluate.next_tokens import NextTokens
from npuopt.evaluate.perplexity import token_windows
from npuopt.evaluate.token_samples import IDS, perplexity_samples
from npuopt.graph import load
from npuopt.graph.execution import Session
from npuopt.quantization.samples.inputs import input_specs
from npuopt.road.options import Say, silent
from npuopt.runtime import open_decoder
from npuopt.runtime.generation.tokenizer import require_known

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from npuopt.runtime import Engine

    Arrays = dict[str, np.ndarray]
    Windows = Iterator[tuple[Arrays, Arrays]]

NEXT_TOKENS = "next-tokens"
"""The task that compares two language models token by token."""


def is_language_model(path: Path) -> bool:
    """Say whether a path is an artifact of a language model."""
    return path.is_dir() and read_manifest(path).language_model is not None


def answers_sources(path: Path) -> bool:
    """Say whether a path is an artifact of an encoder-decoder."""
    record = read_manifest(path).language_model if path.is_dir() else None
    return record is not None and record.source is not None


def language_windows(
    path: Path,
    tokens: NDArray[Any],
    *,
    window: int,
    profile: str | None = None,
    engine: Engine = "cpu",
    limits: Limits | None = None,
) -> tuple[Windows, NDArray[np.int64]]:
    """Run a compiled language model over windows of a text, each from empty caches.

    Args:
        path: the artifact.
        tokens: token ids of the text, [length].
        window: tokens at once; no more than the context holds.
        profile: read with this profile only, `decode` token by token; as generation reads where None.
        engine: what runs it.
        limits: of each vendor tool run.

    Returns:
        The token ids and the logits [1, window, vocabulary] of each window, and the tokens that follow.

    Raises:
        InputError: when the text is too short, is no single text, or has ids outside the vocabulary.
    """
    decoder = open_decoder(path, engine=engine, limits=limits)
    if tokens.ndim != 1:
        raise InputError(f"tokens are {tokens.dtype.name}{list(tokens.shape)}; one text of token ids is read at once")
    require_known(tokens.tolist(), decoder.vocabulary)
    rows = token_windows(tokens, min(window, decoder.context))

    def runs() -> Windows:
        for row in rows:
            decoder.forget()
            ids = row[:-1]
            yield {IDS: ids[None]}, {"logits": decoder.read_all(ids.tolist(), profile)[None]}

    return runs(), rows[:, 1:]


def compare_next_tokens(
    path: Path,
    against: Path,
    tokens: NDArray[Any],
    *,
    window: int = 128,
    limit: int | None = None,
    profile: str | None = None,
    engine: Engine = "cpu",
    say: Say = silent,
) -> dict[str, Any]:
    """Hold a compiled language model against another one, or against an ONNX model, on the same windows.

    Raises:
        InputError: when the text is too short, or the windows of both differ.
        UsageError: when `path` is no artifact of a language model.
    """
    if not is_language_model(path):
        raise UsageError("is no artifact of a language model", where=str(path), hint="compile it with --context")
    own, targets = language_windows(path, tokens, window=window, profile=profile, engine=engine)
    if is_language_model(against):
        other, _ = language_windows(against, tokens, window=targets.shape[1], engine=engine)
    else:
        session, model = Session(against, optimize=True), load(against)
        samples, _ = perplexity_samples(input_specs(model), tokens, targets.shape[1])
        name = model.graph.outputs[0].name or ""
        other = ((sample, {"logits": session.run(sample, [name])[name]}) for sample in samples)
    totals = NextTokens()
    for index, ((_, made), (_, expected), wanted) in enumerate(zip(own, other, targets, strict=True)):
        if index == limit:
            break
        totals.add(made["logits"][0], expected["logits"][0], wanted)
        say(f"window {index + 1} of {len(targets)}")
    return {
        "model": str(path),
        "against": str(against),
        "profile": profile,
        "window": targets.shape[1],
        "tokens": totals.tokens,
        **totals.figures(),
    }
