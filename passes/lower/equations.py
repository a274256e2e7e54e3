"""Equations of Einsum: the letters of each tensor and of the result, all of them spelled out."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EQUATION = re.compile(r"([a-zA-Z,]*)(?:->([a-zA-Z]*))?")
ELLIPSIS = "..."


def read_equation(equation: str, ranks: Sequence[int | None]) -> tuple[list[str], str] | None:
    """Return the letters of each tensor and of the result; None where an ellipsis is not in the result.

    Args:
        equation: as the node has it, without blanks.
        ranks: of the tensors, where known.
    """
    parsed = EQUATION.fullmatch(_spelled_out(equation, ranks))
    terms = parsed[1].split(",") if parsed is not None else []
    if parsed is None or len(terms) != len(ranks):
        return None
    return terms, parsed[2] if parsed[2] is not None else _implied("".join(terms))


def _spelled_out(equation: str, ranks: Sequence[int | None]) -> str:
    """Write letters for an ellipsis, the same from the back for each tensor; or return the equation as it is."""
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    hidden = [
        depth - len(term.replace(ELLIPSIS, "")) if ELLIPSIS in term and depth is not None else 0
        for term, depth in zip(terms, ranks, strict=False)
    ]
    spare = [letter for letter in string.ascii_letters if letter not in equation]
    most = max(hidden, default=0)
    if ELLIPSIS not in left or min(hidden) < 0 or most > len(spare) or len(terms) != len(ranks):
        return equation
    if not arrow:
        result = ELLIPSIS + _implied(left.replace(ELLIPSIS, "").replace(",", ""))
    if most and ELLIPSIS not in result:
        return equation
    letters = "".join(spare[:most])
    ends = [letters[most - count :] for count in hidden]
    spelled = [term.replace(ELLIPSIS, end) for term, end in zip(terms, ends, strict=True)]
    return f"{','.join(spelled)}->{result.replace(ELLIPSIS, letters)}"


def _implied(letters: str) -> str:
    """Return the result's letters where the equation leaves them out: those that occur once, in order."""
    return "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
