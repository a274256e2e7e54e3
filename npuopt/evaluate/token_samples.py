"""A text as samples for a language model: windows of tokens, and what else such a model takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from npuopt.errors import InputError
from npuopt.evaluate.perplexity import token_windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

IDS, MASK, POSITIONS = "input_ids", "attention_mask", "position_ids"


class TokenInput(Protocol):
    """What one model input takes; None for an unknown dim."""

    @property
    def name(self) -> str:
        """The input's name."""
        ...

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Its dims."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its element type."""
        ...


def perplexity_samples(
    inputs: Sequence[TokenInput], tokens: NDArray[Any], window: int
) -> tuple[Iterator[Arrays], NDArray[np.int64]]:
    """Cut a text into windows that each start without a past; return a sample for each, and the tokens that follow.

    Beside `input_ids` a model may take `attention_mask` (all ones), `position_ids` (0, 1, ...) and caches, inputs of
    floats with a free dim, which are empty.

    Args:
        inputs: what the model takes.
        tokens: token ids of the text, [length].
        window: tokens at once, where the model does not say.

    Raises:
        InputError: when the ids are none, the text is too short, or the model takes something else.
    """
    ids = next((one for one in inputs if one.name == IDS), None)
    if ids is None:
        raise InputError(f"the model has no input {IDS} for tokens", hint="give its inputs and the array targets")
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or (tokens.size and int(tokens.min()) < 0):
        raise InputError(f"tokens are {tokens.dtype.name}{list(tokens.shape)}; one axis of token ids is needed")
    windows = token_windows(tokens, ids.shape[-1] or window)
    size = windows.shape[1] - 1
    fixed = {one.name: _filled(one, size) for one in inputs if one is not ids}

    def samples() -> Iterator[Arrays]:
        for row in windows:
            yield {IDS: row[None, :-1].astype(ids.dtype), **fixed}

    return samples(), windows[:, 1:]


def _filled(one: TokenInput, window: int) -> NDArray[Any]:
    """Return what an input beside the ids holds at the start of a text."""
    if one.name == MASK:
        return np.ones((1, window), one.dtype)
    if one.name == POSITIONS:
        return np.arange(window, dtype=one.dtype)[None]
    if one.dtype.kind == "f" and None in one.shape[1:]:
        return np.zeros([1, *(size or 0 for size in one.shape[1:])], one.dtype)
    raise InputError(
        f"input {one.name} is not known how to fill for a text", hint="give all inputs and the array targets instead"
    )
