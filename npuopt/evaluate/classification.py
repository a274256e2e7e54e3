"""How good a classifier is, and how often two of them agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]


def top1_accuracy(logits: Floats, labels: NDArray[np.integer]) -> float:
    """Return the share of samples whose greatest logit is at their label.

    Args:
        logits: [samples, classes]. Among equal logits the first one counts.
        labels: class numbers, [samples]; samples with a negative label have none and are left out.

    Raises:
        InputError: when no sample has a label, or the counts differ.
    """
    if len(logits) != len(labels):
        raise InputError(f"{len(logits)} samples but {len(labels)} labels")
    labelled = labels >= 0
    if not labelled.any():
        raise InputError("no sample has a label")
    return float((logits[labelled].argmax(axis=-1) == labels[labelled]).mean())


def top1_agreement(logits: Floats, reference: Floats) -> float:
    """Return the share of samples for which two models put the same class first.

    Args:
        logits: of one model, [samples, classes].
        reference: of the other, for the same samples.

    Raises:
        InputError: when the shapes differ or there is no sample.
    """
    if logits.shape != reference.shape or not len(logits):
        raise InputError(f"logits of shape {list(logits.shape)} and {list(reference.shape)} cannot be compared")
    return float((logits.argmax(axis=-1) == reference.argmax(axis=-1)).mean())
