"""How well scores tell events from their absence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def frame_auc(scores: NDArray[np.floating], labels: NDArray[np.integer | np.bool_]) -> float:
    """Return the area under the ROC curve over all frames: 1 is perfect, 0.5 is chance.

    It is the probability that a random frame with the event scores higher than a random one without, equal scores
    counting half (Mann-Whitney's U, divided by the number of pairs).

    Args:
        scores: one for each frame, any shape.
        labels: 1 where the event is, 0 where not, of the same shape; frames with a negative label are left out.

    Raises:
        InputError: when the shapes differ, a score is NaN, or one of the two kinds of frame is missing.
    """
    if scores.shape != labels.shape:
        raise InputError(f"labels of shape {list(labels.shape)} for scores of shape {list(scores.shape)}")
    if np.isnan(scores).any():
        raise InputError("a score is NaN, which has no rank")
    marks = labels.astype(np.int64)
    known = marks >= 0
    positive = marks[known] == 1
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        raise InputError(f"{ones} frames with the event and {zeros} without: both kinds are needed")
    _, group, sizes = np.unique(scores[known], return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(sizes) - (sizes - 1) / 2
    rank_sum = float(mean_ranks[group][positive].sum())
    return (rank_sum - ones * (ones + 1) / 2) / (ones * zeros)
