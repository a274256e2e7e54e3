"""Turns a prompt into text, token by token, whatever runs the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from npuopt.errors import InputError, UsageError
from npuopt.runtime.generation.confidence import Confidence
from npuopt.runtime.generation.escalation import Question
from npuopt.runtime.generation.options import GenerateOptions
from npuopt.runtime.generation.sampling import Sampler
from npuopt.runtime.generation.stops import StopSequences
from npuopt.runtime.generation.tokenizer import require_known

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from npuopt.runtime.generation.decoder import CachedDecoder
    from npuopt.runtime.generation.escalation import Escalation
    from npuopt.runtime.generation.sampling import Choice
    from npuopt.runtime.generation.tokenizer import Tokenizer

End = Literal["", "end token", "stop sequence", "token limit", "context full", "escalated"]


@dataclass(frozen=True)
class Piece:
    """A step of an answer.

    Attributes:
        text: what is certain of it now; may be empty while a character or a stop sequence is unfinished.
        token: the id; None for text that no token of this model made.
        choice: how sure the model was; None where there is no token.
        doubt: which threshold of confidence is passed, or nothing.
        end: why the answer ends with this piece, or nothing.
    """

    text: str
    token: int | None = None
    choice: Choice | None = None
    doubt: str = ""
    end: End = ""


class Generator:
    """A conversation with a language model: what was read and said stays for the next prompt.

    Args:
        decoder: the model.
        tokenizer: its tokenizer.
        escalation: asked for text where an answer is doubtful; nothing is, without one.
    """

    def __init__(self, decoder: CachedDecoder, tokenizer: Tokenizer, *, escalation: Escalation | None = None) -> None:
        self.decoder, self.tokenizer, self._escalation = decoder, tokenizer, escalation
        self.tokens: list[int] = []
        self.trims = 0

    def generate(self, prompt: str | Sequence[int], options: GenerateOptions | None = None) -> Iterator[Piece]:
        """Read a prompt and say what follows it.

        Args:
            prompt: text, or token ids. It may be empty where something was read before, or where a source was: then
                it is the beginning of the answer.
            options: of this answer.

        Returns:
            Pieces as they come; the last one says why it ends. Leaving the loop early, with Ctrl-C too, loses nothing
            that was said: the next prompt goes on from there.

        Raises:
            InputError: when the prompt does not fit the context, holds ids outside the vocabulary, is a batch, or is
                empty with nothing before it.
            UsageError: when the attention sinks take the whole context.
        """
        options = options or GenerateOptions()
        ids = self._ids(prompt)
        context = self.decoder.context
        if not ids and not self.tokens:
            raise InputError("the prompt is empty", hint="give at least one token")
        if options.when_full == "slide" and options.sinks * 2 >= context:
            raise UsageError(f"{options.sinks} attention sinks leave no room in a context of {context}")
        held = min(options.sinks, len(self.tokens)) if options.when_full == "slide" else len(self.tokens)
        if len(ids) + held > context:
            before = f" after {held} that it holds" if held else ""
            raise InputError(
                f"the prompt has {len(ids)} tokens{before}, and the context has room for {context}",
                hint="shorten it, or compile with a longer --context",
            )
        return self._answer(ids, options)

    def read_source(self, source: str | Sequence[int] | np.ndarray) -> None:
        """Read what the next prompt answers to, and begin a new conversation.

        Args:
            source: text, token ids, or numbers as the encoder takes them, such as a spectrogram.

        Raises:
            UsageError: when the model reads no source, or one that is no text.
            InputError: when the source is too long, of another shape, or has ids outside the vocabulary.
        """
        if isinstance(source, str):
            if self.decoder.source is not None and self.decoder.source.record.vocabulary is None:
                raise UsageError("the model reads no text but numbers", hint="give an array, such as a spectrogram")
            source = self.tokenizer.encode(source)
        self.decoder.read_source(source)
        self.tokens.clear()

    def use_adapter(self, path: Path | None) -> None:
        """Swap the low-rank adapter, or drop it; the conversation stays, and is read anew with the next prompt.

        Raises:
            InputError: when the file cannot be read, or is for other layers, shapes or a higher rank.
            UsageError: when the model was compiled without adapters.
        """
        self.decoder.use_adapter(path)

    def forget(self) -> None:
        """Begin a new conversation."""
        self.decoder.forget()
        self.tokens.clear()

    def _ids(self, prompt: str | Sequence[int]) -> list[int]:
        if not isinstance(prompt, str):
            _require_row(prompt)
        source = self.decoder.record.source
        if isinstance(prompt, str):
            # an empty text has no token, not even those that a tokenizer puts around one; nor has an answer begun
            read = self.tokenizer.encode if source is None else partial(self.tokenizer.encode, alone=True)
            prompt = read(prompt) if prompt else []
        begin = [source.start_token] if source is not None and not self.tokens else []
        return require_known([*begin, *prompt], self.decoder.vocabulary)

    def _answer(self, prompt: list[int], options: GenerateOptions) -> Iterator[Piece]:
        detokenizer = self.tokenizer.stream([*self.tokens, *prompt])
        self.tokens += prompt
        sampler, stops = Sampler(options.sampling), StopSequences(options.stop)
        confidence = Confidence(options.thresholds)
        said: list[int] = []
        is_asked = False  # an answer is escalated once at most
        while True:
            choice = sampler.choose(self._read(options), self.tokens)
            confidence.add(choice)
            said.append(choice.token)
            self.tokens.append(choice.token)
            is_end = choice.token in self.tokenizer.end_tokens and not options.past_end
            text = "" if is_end else stops.feed(detokenizer.feed(choice.token))
            end: End = "end token" if is_end else "stop sequence" if stops.found is not None else ""
            if not end:
                end = self._limit(len(said), options)
            doubt = confidence.doubt()
            if end or not doubt:
                yield Piece(text + stops.finish() if end else text, choice.token, choice, doubt, end)
                if end:
                    return
                continue
            yield Piece(text, choice.token, choice, doubt)
            answer = None if is_asked else self._escalated(prompt, said, doubt)
            is_asked = True
            if answer is not None:
                yield Piece(stops.finish() + answer, doubt=doubt, end="escalated")
                return

    def _limit(self, said: int, options: GenerateOptions) -> End:
        if said == options.max_tokens:
            return "token limit"
        is_full = len(self.tokens) > self.decoder.context
        return "context full" if is_full and options.when_full == "stop" else ""

    def _read(self, options: GenerateOptions) -> NDArray[np.floating]:
        """Read what is unread, the middle forgotten where the context is full; return the next token's logits."""
        context = self.decoder.context
        if len(self.tokens) > context:
            latest = max(context // 2 - options.sinks, len(self.tokens) - self.decoder.length)
            latest = min(latest, context - options.sinks)
            self.tokens = [*self.tokens[: options.sinks], *self.tokens[-latest:]]
            self.decoder.forget()
            self.trims += 1
        if self.decoder.length == len(self.tokens):  # nothing is unread: the last token is read again for its logits
            self.decoder.forget()
        try:
            return self.decoder.read(self.tokens[self.decoder.length :])
        except BaseException:  # Ctrl-C may leave caches half written; the tokens are whole, and are read anew
            self.decoder.forget()
            raise

    def _escalated(self, prompt: list[int], said: list[int], doubt: str) -> str | None:
        if self._escalation is None:
            return None
        question = Question(self.tokenizer.decode(prompt), self.tokenizer.decode(said), doubt)
        return self._escalation(question, prompt_tokens=len(prompt), answer_tokens=len(said))


def _require_row(prompt: object) -> None:
    """Check that a prompt is one row of something.

    Raises:
        InputError: when it is several, or none.
    """
    if not isinstance(prompt, Sequence | np.ndarray) or isinstance(prompt, bytes):
        raise InputError(f"the prompt is of type {type(prompt).__name__}, neither text nor token ids")
    row = cast("Any", prompt)  # of whatever its items are
    try:
        several = f"of shape {list(np.shape(row))}" if np.ndim(row) != 1 else ""
    except ValueError:  # rows of several lengths
        several = f"of {len(row)} rows"
    if several:
        raise InputError(f"the prompt is a batch {several}, and the model was compiled for one text at once")
