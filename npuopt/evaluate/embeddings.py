"""Sentence embeddings: pooling, and how far two of them are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]


def sentence_embeddings(hidden: Floats, attention_mask: NDArray[np.integer]) -> NDArray[np.float64]:
    """Pool a sentence encoder's tokens: their mean where the mask is 1, scaled to length 1.

    This is the pooling all-MiniLM-L6-v2 and most models of the Sentence Transformers family were trained with.

    Args:
        hidden: last hidden state, [sentences, tokens, width].
        attention_mask: 1 for a token, 0 for padding, [sentences, tokens].

    Returns:
        float64 [sentences, width].

    Raises:
        InputError: when a sentence has no token, or the shapes do not belong together.
    """
    if hidden.shape[:2] != attention_mask.shape:
        raise InputError(f"a mask of shape {list(attention_mask.shape)} for states of shape {list(hidden.shape)}")
    weights = attention_mask.astype(np.float64)[..., None]
    counts = weights.sum(axis=1)
    if not counts.all():
        raise InputError(f"sentence {int(np.argmin(counts[:, 0]))} has no token under the mask")
    means = (hidden.astype(np.float64) * weights).sum(axis=1) / counts
    return means / np.maximum(np.linalg.norm(means, axis=-1, keepdims=True), 1e-12)


def cosine_similarities(first: Floats, second: Floats) -> NDArray[np.float64]:
    """Return the cosine between row i of `first` and row i of `second`.

    Args:
        first: [rows, width]. A row of zeros is at cosine 0 to any other.
        second: of the same shape.

    Returns:
        float64 [rows], each in -1..1.

    Raises:
        InputError: when the shapes differ.
    """
    if first.shape != second.shape:
        raise InputError(f"embeddings of shape {list(first.shape)} and {list(second.shape)} cannot be compared")
    first, second = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.clip((first * second).sum(axis=-1) / np.maximum(lengths, 1e-300), -1.0, 1.0)
