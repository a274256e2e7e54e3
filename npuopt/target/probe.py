"""Holds a descriptor against the vendor's own compiler, question by question."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question
    from npuopt.target.probing.questions import Asked
    from npuopt.target.target import Target

    Ask = Callable[[Sequence[Question]], Sequence[Answer]]

Outcome = Literal["agreed", "wrong", "stricter", "stricter on purpose"]


@dataclass(frozen=True)
class Point:
    """One question with both answers.

    Attributes:
        op: the op's name in the descriptor.
        scheme: in which it was asked; None where the node has no float data.
        case: the node.
        taken: what the compiler did with it.
        outcome: `wrong` when the descriptor takes what the compiler refuses or computes wrong, `stricter` when it
            refuses what the compiler takes and computes right; on purpose where the rule says why (`stricter`).
        descriptor: the descriptor's reasons against it; empty when it takes it.
        compiler: the compiler's reason against it; empty when it takes it.
        error: largest difference from ONNX Runtime, as a fraction of its largest number; None where not
            compared or infinite.
    """

    op: str
    scheme: str | None
    case: str
    taken: bool
    outcome: Outcome
    descriptor: str
    compiler: str
    error: float | None = None


@dataclass(frozen=True)
class ProbeResult:
    """Everything that was asked."""

    points: tuple[Point, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of points by outcome."""
        counted = Counter(point.outcome for point in self.points)
        return {outcome: counted[outcome] for outcome in ("agreed", "stricter on purpose", "stricter", "wrong")}

    def by_scheme(self) -> dict[str | None, ProbeResult]:
        """Split the points by the scheme that they were asked in."""
        schemes = dict.fromkeys(point.scheme for point in self.points)
        return {
            scheme: ProbeResult(tuple(point for point in self.points if point.scheme == scheme)) for scheme in schemes
        }

    @property
    def disagreements(self) -> tuple[Point, ...]:
        """Points on which the descriptor is wrong or needlessly strict."""
        return tuple(point for point in self.points if point.outcome in ("wrong", "stricter"))


def probe(
    target: Target, ask: Ask, ops: Iterable[str] = (), *, progress: Callable[[int], None] = lambda _: None
) -> ProbeResult:
    """Ask the compiler about one-op models for everything the descriptor says.

    Every op is asked in every scheme, with every rank, attribute and element type of the catalogue, and at and just
    past every bound of the descriptor. Quantized questions count as taken only when they are computed in integers,
    and all only when the numbers are ONNX Runtime's.

    Args:
        target: the chip.
        ask: puts questions to its compiler; the road's delegate has it.
        ops: ask about these only; about all when empty.
        progress: called with the number of questions made so far, before any is asked.
    """
    from npuopt.target.probing.questions import questions  # noqa: PLC0415 -- imports ONNX Runtime

    asked: list[Asked] = []
    for one in questions(target, ops):
        asked.append(one)
        progress(len(asked))
    answers = ask([one.question for one in asked])
    return ProbeResult(tuple(_point(target, one, answer) for one, answer in zip(asked, answers, strict=True)))


def _point(target: Target, asked: Asked, answer: Answer) -> Point:
    question = asked.question
    return Point(
        op=question.op,
        scheme=question.scheme,
        case=question.label,
        taken=answer.taken,
        outcome=_outcome(target, question.op, expected=bool(asked.expected), taken=answer.taken),
        descriptor="; ".join(asked.expected.reasons),
        compiler=answer.reason,
        error=answer.error if answer.compared and math.isfinite(answer.error) else None,
    )


def _outcome(target: Target, op: str, *, expected: bool, taken: bool) -> Outcome:
    if expected == taken:
        return "agreed"
    if expected:
        return "wrong"
    rule = target.ops.get(op)
    return "stricter on purpose" if rule is not None and rule.stricter else "stricter"
