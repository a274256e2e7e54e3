"""Perplexity of a language model, whatever runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Integers = NDArray[np.integer]
    Floats = NDArray[np.floating]


def token_windows(tokens: Integers, window: int = 128) -> NDArray[np.int64]:
    """Cut a text into windows of `window` tokens and the one that follows them.

    Neighbours share one token: the last target of a window is the first input of the next. What is left at the end
    is dropped.

    Args:
        tokens: token ids, [length].
        window: tokens that the model sees at once.

    Returns:
        int64 [windows, window + 1].

    Raises:
        InputError: when the text is shorter than one window and its last target.
    """
    count = (len(tokens) - 1) // window
    if count < 1:
        raise InputError(f"{len(tokens)} tokens are too few for one window of {window} and the token after it")
    starts = np.arange(count) * window
    return tokens[starts[:, None] + np.arange(window + 1)].astype(np.int64)


def token_losses(logits: Floats, targets: Integers) -> NDArray[np.float64]:
    """Return the negative log-likelihood of each target, in nats.

    Args:
        logits: [..., vocabulary], computed on in float64.
        targets: token ids, [...].

    Returns:
        float64 [...].
    """
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    of_target = np.take_along_axis(scores, targets[..., None], axis=-1)[..., 0]
    return np.log(np.exp(scores).sum(axis=-1)) - of_target


def perplexity(
    logits_of: Callable[[NDArray[np.int64]], Floats], tokens: Integers, *, window: int = 128, batch: int = 1
) -> float:
    """Return exp of the mean loss per token, over windows that each start without a past.

    Args:
        logits_of: the model: ids int64 [batch, window] -> logits [batch, window, vocabulary], where position i
            predicts token i + 1.
        tokens: token ids of the text, [length]; window k holds tokens k * window to (k + 1) * window.
        window: tokens that the model sees at once.
        batch: windows for one call; the last call may hold fewer.

    Raises:
        InputError: when the text is too short, or the logits are not of that shape.
    """
    windows = token_windows(tokens, window)
    total = 0.0
    for start in range(0, len(windows), batch):
        part = windows[start : start + batch]
        logits = logits_of(part[:, :-1])
        if logits.shape[:-1] != (len(part), window):
            raise InputError(f"logits of shape {list(logits.shape)} for {len(part)} windows of {window} tokens")
        total += float(token_losses(logits, part[:, 1:]).sum())
    return float(np.exp(total / (len(windows) * window)))
