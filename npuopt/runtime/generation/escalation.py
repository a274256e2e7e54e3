"""A hook through which an application may ask a model of its own when this one is not sure.

Off unless the application builds an `Escalation`, which takes the user's consent as an object. npuopt sends nothing:
what leaves the machine, leaves it in the application's own function. Each use is recorded, never the text.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from npuopt.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

Outcome = Literal["answered", "declined", "failed", "over the rate", "without consent"]


@dataclass(frozen=True)
class Consent:
    """Somebody's agreement that text may leave this machine.

    Attributes:
        given_by: who agreed, as the application knows them.
        purpose: what they agreed to, in their words' sense.
        until: seconds since the epoch at which it ends; None: until `withdraw`.

    Raises:
        UsageError: when it names nobody or nothing.
    """

    given_by: str
    purpose: str
    until: float | None = None
    _withdrawn: list[float] = field(default_factory=list[float], repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.given_by.strip() or not self.purpose.strip():
            raise UsageError("a consent says who gave it and for what")

    def withdraw(self) -> None:
        """End it now and for good."""
        self._withdrawn.append(time.time())

    def holds(self, now: float) -> bool:
        """Say whether it holds at `now`, seconds since the epoch."""
        return not self._withdrawn and (self.until is None or now < self.until)


@dataclass(frozen=True)
class Question:
    """What the application's function gets.

    Attributes:
        prompt: the prompt's text.
        answer: what this model said so far.
        reason: which threshold was passed.
    """

    prompt: str
    answer: str
    reason: str


@dataclass(frozen=True)
class EscalationRecord:
    """One escalation, without any text: seconds since the epoch, tokens counted, seconds that the function took."""

    at: float
    given_by: str
    reason: str
    prompt_tokens: int
    answer_tokens: int
    outcome: Outcome
    seconds: float
    error: str = ""


Ask = Callable[[Question], str | None]
"""The application's function: what is to be said from here on, or None to leave it to this model."""


class Escalation:
    """Asks the application's function, where consent holds and not too often.

    Args:
        ask: the application's function; an exception of its own counts as no answer.
        consent: the agreement that text may leave the machine.
        most: how many are allowed in `seconds`; what is over is recorded and not asked.
        seconds: the time that `most` is for.
        journal: a file that gets one JSON line for each.
        clock: seconds since the epoch.

    Raises:
        UsageError: without a consent, or with a rate that is none.
    """

    def __init__(
        self,
        ask: Ask,
        consent: Consent,
        *,
        most: int = 10,
        seconds: float = 3600.0,
        journal: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(consent, Consent):  # pyright: ignore[reportUnnecessaryIsInstance] -- True must not pass
            raise UsageError("escalation needs a Consent", hint="Consent(given_by=..., purpose=...)")
        if most < 1 or not seconds > 0:
            raise UsageError(f"{most} escalations in {seconds:g} seconds is no rate")
        self._ask, self._consent, self._clock, self._journal = ask, consent, clock, journal
        self._most, self._seconds = most, seconds
        self._asked: deque[float] = deque()
        self.records: list[EscalationRecord] = []

    def __call__(self, question: Question, *, prompt_tokens: int, answer_tokens: int) -> str | None:
        """Ask, and record it; returns what is to be said from here on, or None."""
        at = self._clock()
        started = time.perf_counter()
        answer, error = None, ""
        outcome = self._refusal(at)
        if outcome is None:
            self._asked.append(at)
            try:
                answer = self._ask(question)
                outcome = "declined" if answer is None else "answered"
            except Exception as failure:  # noqa: BLE001 -- whatever fails outside, this model goes on
                outcome, error = "failed", type(failure).__name__  # its message may quote the text
        self._record(
            EscalationRecord(
                at=at,
                given_by=self._consent.given_by,
                reason=question.reason,
                prompt_tokens=prompt_tokens,
                answer_tokens=answer_tokens,
                outcome=outcome,
                seconds=time.perf_counter() - started,
                error=error,
            )
        )
        return answer

    def _refusal(self, at: float) -> Outcome | None:
        while self._asked and self._asked[0] <= at - self._seconds:
            self._asked.popleft()
        if not self._consent.holds(at):
            return "without consent"
        return "over the rate" if len(self._asked) >= self._most else None

    def _record(self, record: EscalationRecord) -> None:
        self.records.append(record)
        if self._journal is not None:
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(record)) + "\n")
