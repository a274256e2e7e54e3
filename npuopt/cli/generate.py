"""`npuopt generate`: say what a compiled language model says to a prompt."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from npuopt.cli.option_groups import takes_groups
from npuopt.cli.options import JsonOption
from npuopt.cli.output import print_json
from npuopt.cli.run import Engine, FailureOption, OnFailure, report_fallback

if TYPE_CHECKING:
    import numpy as np

    from npuopt.runtime import GenerateOptions, Generator

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells expect it."""


class WhenFull(StrEnum):
    """What happens where the context is full."""

    stop = "stop"
    slide = "slide"


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """How tokens are chosen, and where the answer ends."""

    panel: ClassVar[str] = "The answer"

    max_tokens: Annotated[int, typer.Option("--max-tokens", "-n", min=1, help="The most tokens to say.")] = 128
    temperature: Annotated[float, typer.Option("--temperature", help="Of the draw; 0 takes the likeliest.")] = 0.0
    top_k: Annotated[int, typer.Option("--top-k", help="Draw from this many of the likeliest; 0: from all.")] = 0
    top_p: Annotated[float, typer.Option("--top-p", help="Draw from the likeliest that reach this in sum.")] = 1.0
    repetition_penalty: Annotated[
        float, typer.Option("--repetition-penalty", help="Turn away from tokens that were there; 1: not at all.")
    ] = 1.0
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0
    stop: Annotated[list[str] | None, typer.Option("--stop", help="A text that ends the answer.")] = None
    when_full: Annotated[
        WhenFull, typer.Option("--when-full", help="stop there, or slide: forget the middle and go on.")
    ] = WhenFull.stop
    sinks: Annotated[int, typer.Option("--sinks", min=0, help="First tokens that sliding keeps.")] = 4
    past_end: Annotated[bool, typer.Option("--past-end", help="Go on after an end token.")] = False

    def generate_options(self) -> GenerateOptions:
        """Return what was asked for, as the runtime takes it."""
        from npuopt.runtime import GenerateOptions, Sampling

        return GenerateOptions(
            max_tokens=self.max_tokens,
            sampling=Sampling(self.temperature, self.top_k, self.top_p, self.repetition_penalty, self.seed),
            stop=tuple(self.stop or ()),
            when_full=self.when_full.value,
            sinks=self.sinks,
            past_end=self.past_end,
        )


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What an encoder-decoder answers to."""

    panel: ClassVar[str] = "The source"

    source: Annotated[
        str | None, typer.Option("--source", help="The text that an encoder-decoder answers to.", metavar="TEXT")
    ] = None
    source_file: Annotated[
        Path | None,
        typer.Option(
            "--source-file",
            help="What an encoder-decoder answers to, as an array in a .npz by the name of the encoder's input.",
            metavar="FILE",
        ),
    ] = None

    @property
    def is_given(self) -> bool:
        """Say whether there is a source."""
        return self.source is not None or self.source_file is not None

    def read(self, generator: Generator) -> str | np.ndarray:
        """Return what an encoder-decoder is to answer to.

        Raises:
            UsageError: when it is given twice, or the model reads none.
            InputError: when the file has no such array.
        """
        import numpy as np

        from npuopt.errors import InputError, UsageError

        text, path = self.source, self.source_file
        reader = generator.decoder.source
        if reader is None:
            raise UsageError("the model reads no source: it is a decoder alone", hint="give the text with --prompt")
        if text is not None and path is not None:
            raise UsageError("the source is given twice", hint="give --source or --source-file")
        if path is None:
            return text or ""
        try:
            with np.load(path, allow_pickle=False) as archive:
                array = np.asarray(archive[reader.record.input])
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise InputError(
                f"has no array {reader.record.input!r} that can be read: {error}", where=str(path)
            ) from error
        return array[0] if array.ndim == len(reader.record.shape) and len(array) == 1 else array


@takes_groups
def generate_command(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="The text to go on from.")] = "",
    *,
    source: SourceOptions,
    engine: Annotated[
        Engine, typer.Option("--engine", help="cpu: ONNX Runtime; device: the compiled parts (a simulator here).")
    ] = Engine.cpu,
    on_failure: FailureOption = OnFailure.stop,
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", help="A tokenizer.json; the artifact's own without it.", metavar="FILE"),
    ] = None,
    session: Annotated[
        Path | None,
        typer.Option("--session", help="Go on from this file, and keep the conversation in it.", metavar="FILE"),
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="A low-rank adapter, .npz or .safetensors.", metavar="FILE")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Of ONNX Runtime; 0: all cores.")] = 0,
    time_limit: Annotated[
        float, typer.Option("--time-limit", min=0.1, help="Seconds for each vendor tool run.")
    ] = 900.0,
    answer: AnswerOptions,
    json: JsonOption = False,
) -> None:
    """Say, token by token, what the language model in ARTIFACT says to a prompt. Ctrl-C keeps what was said."""
    from npuopt.delegates.contract import Limits
    from npuopt.runtime import open_generator, restore_session, save_session

    generator = open_generator(
        artifact,
        engine=engine.value,
        tokenizer=tokenizer,
        on_failure=on_failure.value,
        told=report_fallback,
        limits=Limits(seconds=time_limit),
        threads=threads,
    )
    if adapter is not None:
        generator.use_adapter(adapter)
    if session is not None and session.exists():
        restore_session(generator, session)
    if source.is_given:
        generator.read_source(source.read(generator))
    said = _say(generator, prompt, answer.generate_options(), aloud=not json)
    if session is not None:
        save_session(generator, session)
    if json:
        print_json({"artifact": str(artifact), "engine": engine.value, "prompt": prompt, **said})
    if said["end"] == "interrupted":
        sys.exit(INTERRUPTED)


def _say(generator: Generator, prompt: str, options: GenerateOptions, *, aloud: bool) -> dict[str, Any]:
    """Print the answer as it comes, and return it with what was measured."""
    texts: list[str] = []
    choices: list[tuple[float, float]] = []
    end, started, first = "", time.perf_counter(), None
    read = len(generator.tokens)
    try:
        for piece in generator.generate(prompt, options):
            first = first or time.perf_counter()
            if piece.choice is not None:
                choices.append((piece.choice.log_probability, piece.choice.entropy))
            texts.append(piece.text)
            end = piece.end
            if aloud:
                sys.stdout.write(piece.text)
                sys.stdout.flush()
    except KeyboardInterrupt:
        end = "interrupted"
    finished = time.perf_counter()
    if aloud:
        sys.stdout.write("\n")
        sys.stderr.write(_summary(len(choices), end, started, first, finished) + "\n")
    count = max(len(choices), 1)
    return {
        "text": "".join(texts),
        "end": end,
        "prompt_tokens": len(generator.tokens) - read - len(choices),
        "tokens": len(choices),
        "mean_log_probability": sum(choice[0] for choice in choices) / count,
        "mean_entropy": sum(choice[1] for choice in choices) / count,
        "seconds_to_first_token": None if first is None else first - started,
        "seconds": finished - started,
        "trims": generator.trims,
    }


def _summary(count: int, end: str, started: float, first: float | None, finished: float) -> str:
    if first is None:
        return f"({end} before the first token)"
    rest = f", then {(count - 1) / (finished - first):.1f} tokens/s" if count > 1 else ""
    return f"({count} tokens, {end}; first after {first - started:.2f} s{rest})"
