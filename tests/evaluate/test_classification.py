import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.evaluate import top1_accuracy, top1_agreement

LOGITS = np.array([[3.0, 1.0], [0.0, 2.0], [5.0, 4.0], [1.0, 7.0]])


def test_accuracy_counts_the_samples_whose_label_comes_first() -> None:
    assert top1_accuracy(LOGITS, np.array([0, 1, 1, 1])) == 0.75


def test_samples_without_a_label_do_not_count() -> None:
    assert top1_accuracy(LOGITS, np.array([0, -1, 1, -1])) == 0.5


def test_accuracy_without_any_label_is_an_error_not_a_zero() -> None:
    with pytest.raises(InputError, match="no sample has a label"):
        top1_accuracy(LOGITS, np.full(4, -1))


def test_accuracy_refuses_labels_of_other_samples() -> None:
    with pytest.raises(InputError, match="4 samples but 3 labels"):
        top1_accuracy(LOGITS, np.zeros(3, np.int64))


def test_agreement_looks_at_the_order_and_not_at_the_size() -> None:
    assert top1_agreement(10 * LOGITS, LOGITS) == 1
    assert top1_agreement(LOGITS, LOGITS[:, ::-1]) == 0


def test_agreement_needs_the_same_samples() -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        top1_agreement(LOGITS, LOGITS[:2])
