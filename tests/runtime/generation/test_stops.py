"""A stream ends where a stop sequence begins, however the text is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npuopt.errors import UsageError
from npuopt.runtime.generation.stops import StopSequences


def streamed(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    sequences, said = StopSequences(stops), ""
    for piece in pieces:
        said += sequences.feed(piece)
        if sequences.found is not None:
            return said, sequences.found
    return said + sequences.finish(), None


def test_nothing_of_a_stop_sequence_is_given_out() -> None:
    assert streamed(["Hel", "lo\n", "\nUs", "er: you"], ["\n\nUser:"]) == ("Hello", "\n\nUser:")


def test_what_only_looked_like_one_comes_later() -> None:
    sequences = StopSequences(["END"])
    assert [sequences.feed(piece) for piece in ("a E", "N", "x")] == ["a ", "", "ENx"]


def test_the_earliest_of_several_wins() -> None:
    assert streamed(["one two three"], ["three", "two"]) == ("one ", "two")


@given(st.text("abX", max_size=20), st.lists(st.integers(1, 3), max_size=20), st.sampled_from([["X"], ["ab", "aab"]]))
def test_pieces_do_not_matter(text, cuts, stops) -> None:
    pieces, rest = [], text
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    places = [text.find(stop) for stop in stops if stop in text]
    said, found = streamed([*pieces, rest], stops)
    assert (found is not None) == bool(places)
    if len(stops) == 1 or not places:  # of overlapping ones, the piece that is complete first decides
        assert said == text[: min(places, default=len(text))]
    assert not any(stop in said for stop in stops)


def test_an_empty_one() -> None:
    with pytest.raises(UsageError, match="empty"):
        StopSequences([".", ""])
