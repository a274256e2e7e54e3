"""A prompt becomes text, piece by piece; what goes wrong loses nothing."""

from itertools import islice

import numpy as np
import pytest

from npuopt.errors import InputError, UsageError
from npuopt.runtime import GenerateOptions, Sampling, open_generator
from npuopt.runtime.generation.confidence import Thresholds
from npuopt.runtime.generation.escalation import Consent, Escalation
from npuopt.runtime.generation.generator import Generator
from support.toy_decoder import CONTEXT, TOKENIZER, VOCABULARY, Weights, write_artifact

PROMPT = [45, 89, 707, 1016, 807]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_artifact(tmp_path_factory.mktemp("toy") / "artifact")


@pytest.fixture
def generator(folder) -> Generator:
    return open_generator(folder, threads=1)


def greedy(prompt: list[int], count: int) -> list[int]:
    """Return what the model without a cache says."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(Weights.drawn().logits(tokens)[-1].argmax()))
    return tokens[len(prompt) :]


def test_greedy_tokens_are_the_models(generator) -> None:
    pieces = list(generator.generate(PROMPT, GenerateOptions(max_tokens=10, past_end=True)))
    assert [piece.token for piece in pieces] == greedy(PROMPT, 10)
    assert [piece.end for piece in pieces] == [*[""] * 9, "token limit"]
    assert "".join(piece.text for piece in pieces) == generator.tokenizer.decode(generator.tokens[len(PROMPT) :])


def test_a_prompt_of_text(generator) -> None:
    tokens = generator.tokenizer.encode("My fellow citizens")
    said = [piece.token for piece in generator.generate("My fellow citizens", GenerateOptions(max_tokens=4))]
    assert said == greedy(tokens, 4)


def test_a_conversation_goes_on_with_what_was_said(generator) -> None:
    options = GenerateOptions(max_tokens=3, past_end=True)
    first = [piece.token for piece in generator.generate(PROMPT, options)]
    second = [piece.token for piece in generator.generate([11, 12], options)]
    assert second == greedy([*PROMPT, *first, 11, 12], 3)
    generator.forget()
    assert [piece.token for piece in generator.generate(PROMPT, options)] == first


def test_an_empty_prompt_goes_on(generator) -> None:
    options = GenerateOptions(max_tokens=3, past_end=True)
    said = [piece.token for _ in range(2) for piece in generator.generate(PROMPT if not _ else "", options)]
    assert said == greedy(PROMPT, 6)


def test_leaving_early_loses_nothing_that_was_said(generator) -> None:
    options = GenerateOptions(max_tokens=9, past_end=True)
    said = [piece.token for piece in islice(generator.generate(PROMPT, options), 4)]
    said += [piece.token for piece in islice(generator.generate([], options), 4)]
    assert said == greedy(PROMPT, 8)


def test_a_seed_repeats_a_draw(generator) -> None:
    def drawn(seed: int) -> list[int | None]:
        generator.forget()
        options = GenerateOptions(max_tokens=8, sampling=Sampling(temperature=5.0, seed=seed), past_end=True)
        return [piece.token for piece in generator.generate(PROMPT, options)]

    assert drawn(1) == drawn(1) != drawn(2)


def test_an_end_token_ends(generator, monkeypatch) -> None:
    third = greedy(PROMPT, 3)[2]
    monkeypatch.setattr(generator.tokenizer, "end_tokens", frozenset({third}))
    pieces = list(generator.generate(PROMPT))
    assert (len(pieces), pieces[-1].end, pieces[-1].text) == (3, "end token", "")


def test_a_stop_sequence_ends_and_is_not_said(generator) -> None:
    text = generator.tokenizer.decode(greedy(PROMPT, 8))
    stop = text[5:8]
    pieces = list(generator.generate(PROMPT, GenerateOptions(stop=(stop,))))
    assert pieces[-1].end == "stop sequence"
    assert "".join(piece.text for piece in pieces) == text[: text.index(stop)]


def test_a_full_context_stops(generator) -> None:
    pieces = list(generator.generate(PROMPT, GenerateOptions(max_tokens=99, past_end=True)))
    assert pieces[-1].end == "context full"
    assert [piece.token for piece in pieces] == greedy(PROMPT, CONTEXT - len(PROMPT) + 1)


def test_a_full_context_slides_and_keeps_its_first_tokens(generator) -> None:
    options = GenerateOptions(max_tokens=60, when_full="slide", sinks=3, past_end=True)
    tokens = list(PROMPT)
    for piece in generator.generate(PROMPT, options):
        assert piece.token == int(Weights.drawn().logits(tokens)[-1].argmax())
        tokens.append(piece.token)
        if len(tokens) > CONTEXT:  # what the text is from here on, to the model without a cache too
            tokens = [*tokens[:3], *tokens[-(CONTEXT // 2 - 3) :]]
    assert generator.trims == 4
    assert generator.tokens == tokens


@pytest.mark.parametrize("when_full", ["stop", "slide"])
def test_a_prompt_longer_than_the_context(generator, when_full) -> None:
    with pytest.raises(InputError, match="the prompt has 25 tokens, and the context has room for 24; shorten it"):
        generator.generate([5] * 25, GenerateOptions(when_full=when_full))
    assert generator.tokens == []


def test_a_second_prompt_that_no_longer_fits(generator) -> None:
    list(generator.generate(PROMPT, GenerateOptions(max_tokens=2, past_end=True)))
    with pytest.raises(InputError, match="18 tokens after 7 that it holds"):
        generator.generate([5] * 18)
    assert len(generator.tokens) == 7
    slid = generator.generate([5] * 18, GenerateOptions(max_tokens=2, when_full="slide", past_end=True))
    assert len(list(slid)) == 2


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ([5, VOCABULARY], "token 1 has the id 2048, outside the model's vocabulary"),
        ([-1], "token 0 has the id -1"),
        ([], "the prompt is empty"),
        ("", "the prompt is empty"),
        ([[5, 6], [7, 8]], r"a batch of shape \[2, 2\]"),
        (np.zeros((1, 3), np.int64), r"a batch of shape \[1, 3\]"),
        ([[5], [7, 8]], "a batch of 2 rows"),
        ([5, 1.5], "token 1 is 1.5, not a token's id"),
        (["a"], "token 0 is 'a', not a token's id"),
        ([True], "token 0 is True, not a token's id"),
        (None, "of type NoneType, neither text nor token ids"),
        (b"My", "of type bytes, neither text nor token ids"),
    ],
)
def test_prompts_that_are_none(generator, prompt, words) -> None:
    with pytest.raises(InputError, match=words):
        generator.generate(prompt)


def test_attention_sinks_that_take_the_context(generator) -> None:
    with pytest.raises(UsageError, match="12 attention sinks leave no room in a context of 24"):
        generator.generate(PROMPT, GenerateOptions(when_full="slide", sinks=12))


def test_a_doubtful_answer_is_escalated_once(folder) -> None:
    asked = []
    consent = Consent("ann", "help with letters")
    thresholds = Thresholds(max_entropy=0.001, window=2)
    escalation = Escalation(asked.append, consent)
    generator = open_generator(folder, threads=1, escalation=escalation)
    pieces = list(generator.generate(PROMPT, GenerateOptions(max_tokens=6, thresholds=thresholds, past_end=True)))
    assert [bool(piece.doubt) for piece in pieces] == [False, True, True, True, True, True]
    assert len(asked) == len(escalation.records) == 1
    assert asked[0].answer == generator.tokenizer.decode(greedy(PROMPT, 2))
    assert escalation.records[0].outcome == "declined"

    escalation = Escalation(lambda _: " as the other one says", consent)
    generator = open_generator(folder, threads=1, escalation=escalation)
    pieces = list(generator.generate(PROMPT, GenerateOptions(max_tokens=6, thresholds=thresholds, past_end=True)))
    assert (pieces[-1].text, pieces[-1].token, pieces[-1].end) == (" as the other one says", None, "escalated")
    assert len(pieces) == 3


def test_nothing_is_escalated_unasked(generator) -> None:
    thresholds = Thresholds(max_entropy=0.001, window=1)
    pieces = list(generator.generate(PROMPT, GenerateOptions(max_tokens=3, thresholds=thresholds, past_end=True)))
    assert all(piece.doubt for piece in pieces)
    assert pieces[-1].end == "token limit"


def test_a_tokenizer_of_the_users_must_number_the_same_tokens(folder, tmp_path) -> None:
    other = tmp_path / "tokenizer.json"
    other.write_bytes(TOKENIZER.read_bytes().replace(b'"!": 1,', b'"\xc2\xa1": 1,'))
    with pytest.raises(InputError, match="does not belong to the model"):
        open_generator(folder, tokenizer=other)
    assert open_generator(folder, tokenizer=TOKENIZER).tokenizer.path == TOKENIZER


@pytest.mark.parametrize(
    "options", [{"max_tokens": 0}, {"when_full": "panic"}, {"sinks": -1}, {"stop": ("",)}], ids=str
)
def test_options_out_of_range(generator, options) -> None:
    with pytest.raises(UsageError):
        list(generator.generate(PROMPT, GenerateOptions(**options)))
