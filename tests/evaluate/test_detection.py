import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npuopt.errors import InputError
from npuopt.evaluate import frame_auc


def test_perfect_reversed_and_undecided_scores() -> None:
    labels = np.array([[0, 0], [1, 1]])
    assert frame_auc(np.array([[0.1, 0.2], [0.3, 0.9]]), labels) == 1
    assert frame_auc(np.array([[0.9, 0.8], [0.3, 0.1]]), labels) == 0
    assert frame_auc(np.full((2, 2), 0.5), labels) == 0.5


def test_frames_without_a_label_do_not_count() -> None:
    assert frame_auc(np.array([0.9, 0.1, 0.5]), np.array([-1, 0, 1])) == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_it_is_the_chance_that_an_event_outranks_a_frame_without_one(frames: list[tuple[int, bool]]) -> None:
    events = [score for score, event in [*frames, (3, True)] if event]
    others = [score for score, event in [*frames, (2, False)] if not event]
    wins = np.mean([(event > other) + 0.5 * (event == other) for event in events for other in others])
    scores = np.array(events + others, np.float64)
    labels = np.array([1] * len(events) + [0] * len(others))
    assert frame_auc(scores, labels) == pytest.approx(float(wins))


@pytest.mark.parametrize(
    ("scores", "labels", "reason"),
    [
        ([0.1, 0.2], [1, 1], "2 frames with the event and 0 without"),
        ([0.1, np.nan], [0, 1], "NaN"),
        ([0.1, 0.2], [0, 1, 1], "labels of shape"),
    ],
)
def test_frames_that_say_nothing_are_refused(scores: list[float], labels: list[int], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        frame_auc(np.array(scores), np.array(labels))
