"""Text recognition: reading a CTC network's output, and comparing what two of them read."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def ctc_greedy_decode(scores: NDArray[np.floating], characters: Sequence[str], *, blank: int = 0) -> list[str]:
    """Read the most probable class of each step, with repeats merged and blanks dropped.

    Best-path decoding of Graves et al., "Connectionist Temporal Classification", ICML 2006, section 3.2.

    Args:
        scores: probabilities or logits, [lines, steps, classes].
        characters: what each class stands for, blank included: as many as there are classes.
        blank: the class that stands for nothing.

    Returns:
        One text for each line.

    Raises:
        InputError: when there are more or fewer characters than classes.
    """
    if scores.shape[-1] != len(characters):
        raise InputError(f"{len(characters)} characters for {scores.shape[-1]} classes")
    paths: list[list[int]] = scores.argmax(axis=-1).tolist()
    return ["".join(characters[step] for step, _ in groupby(path) if step != blank) for path in paths]


def exact_match(texts: Sequence[str], reference: Sequence[str]) -> float:
    """Return the share of texts that equal their reference to the letter.

    Raises:
        InputError: when the counts differ or there is no text.
    """
    if len(texts) != len(reference) or not texts:
        raise InputError(f"{len(texts)} texts cannot be compared with {len(reference)}")
    return float(np.mean([text == wanted for text, wanted in zip(texts, reference, strict=True)]))
