"""Nothing is asked without consent, nor too often, and no record holds the text."""

import json

import pytest

from npuopt.errors import UsageError
from npuopt.runtime.generation.escalation import Consent, Escalation, Question

TEXT = "my secret prompt"
QUESTION = Question(TEXT, "my secret answer", "mean entropy 5.000 is above 4")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def ask(escalation: Escalation) -> str | None:
    return escalation(QUESTION, prompt_tokens=3, answer_tokens=4)


def test_the_applications_function_gets_the_text_and_answers() -> None:
    asked = []
    escalation = Escalation(lambda question: asked.append(question) or "better", Consent("ann", "help with letters"))
    assert ask(escalation) == "better"
    assert asked == [QUESTION]
    record = escalation.records[0]
    assert (record.outcome, record.given_by, record.prompt_tokens, record.answer_tokens) == ("answered", "ann", 3, 4)


@pytest.mark.parametrize("consent", [True, "yes", None])
def test_anything_but_a_consent_is_refused(consent) -> None:
    with pytest.raises(UsageError, match="needs a Consent"):
        Escalation(lambda _: "", consent)


@pytest.mark.parametrize(("who", "what"), [("", "x"), ("x", " ")])
def test_a_consent_of_nobody_or_for_nothing(who, what) -> None:
    with pytest.raises(UsageError, match="who gave it"):
        Consent(who, what)


def test_consent_ends() -> None:
    clock, consent = Clock(), Consent("ann", "help", until=1001.0)
    escalation = Escalation(lambda _: "better", consent, clock=clock)
    assert ask(escalation) == "better"
    clock.now = 1001.0
    assert ask(escalation) is None
    forever = Consent("ann", "help")
    escalation = Escalation(lambda _: "better", forever, clock=clock)
    forever.withdraw()
    assert ask(escalation) is None
    assert [record.outcome for record in escalation.records] == ["without consent"]


def test_the_rate_is_kept_and_recovers() -> None:
    clock = Clock()
    escalation = Escalation(lambda _: "better", Consent("ann", "help"), most=2, seconds=60, clock=clock)
    assert [ask(escalation) for _ in range(3)] == ["better", "better", None]
    clock.now += 60
    assert ask(escalation) == "better"
    assert [record.outcome for record in escalation.records] == ["answered", "answered", "over the rate", "answered"]


def test_a_function_that_fails_is_no_answer() -> None:
    def fail(question: Question) -> str:
        raise ConnectionError(f"cannot send {question.prompt}")

    escalation = Escalation(fail, Consent("ann", "help"))
    assert ask(escalation) is None
    assert (escalation.records[0].outcome, escalation.records[0].error) == ("failed", "ConnectionError")


def test_no_record_holds_the_text(tmp_path) -> None:
    journal = tmp_path / "escalations.jsonl"
    answers = iter(["a secret reply", None])
    escalation = Escalation(lambda _: next(answers), Consent("ann", "help"), journal=journal)
    for _ in range(3):  # the third fails: the iterator is empty
        ask(escalation)
    lines = journal.read_text().splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["answered", "declined", "failed"]
    assert "secret" not in journal.read_text()
    assert "secret" not in repr(escalation.records)


@pytest.mark.parametrize("rate", [{"most": 0}, {"seconds": 0}])
def test_a_rate_that_is_none(rate) -> None:
    with pytest.raises(UsageError, match="is no rate"):
        Escalation(lambda _: "", Consent("ann", "help"), **rate)
