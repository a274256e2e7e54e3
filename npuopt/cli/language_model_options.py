"""Options of the commands that make static profiles of a language model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npuopt.errors import UsageError

if TYPE_CHECKING:
    from npuopt.road.options import LanguageModelOptions


class CacheChoice(StrEnum):
    """Forms of a cache."""

    new = "new"
    in_place = "in-place"
    whole = "whole"


class CacheType(StrEnum):
    """Integers of a cache."""

    int8 = "int8"
    int16 = "int16"


class CacheScalesChoice(StrEnum):
    """What of an integer cache shares one scale."""

    tensor = "tensor"
    head = "head"
    channel = "channel"


ContextOption = Annotated[
    int | None,
    typer.Option("--context", min=1, help="The model is a decoder: give it a cache of so many tokens.", metavar="N"),
]
ChunkOption = Annotated[
    int | None,
    typer.Option("--chunk", min=1, help="New tokens in a run of the profile prefill (128, or the context)."),
]
SpeculateOption = Annotated[
    list[int] | None,
    typer.Option("--decode-tokens", min=2, help="Add a profile decode_K of K new tokens.", metavar="K"),
]
CacheOption = Annotated[
    CacheChoice | None,
    typer.Option(
        "--cache",
        help="What of the cache comes out: new keys and values, the cache written in place, or the whole cache moved"
        " along; the target's own choice without it.",
    ),
]
CacheTypeOption = Annotated[
    CacheType | None,
    typer.Option("--cache-type", help="Hold keys and values as integers, in the caller's memory too."),
]
CacheScalesOption = Annotated[
    CacheScalesChoice,
    typer.Option("--cache-scales", help="An integer cache has one scale, or one for each head or channel."),
]
LastLogitsOption = Annotated[
    bool, typer.Option("--last-logits", help="Compute the logits of one token of a run only, which an input names.")
]
HintsOption = Annotated[
    Path | None,
    typer.Option("--decoder-hints", help="A YAML file that says what the graph does not tell.", metavar="FILE"),
]
TokenizerOption = Annotated[
    list[Path] | None,
    typer.Option("--tokenizer", help="Carry this file of the tokenizer along.", metavar="FILE"),
]
AdapterOption = Annotated[
    Path | None,
    typer.Option(
        "--adapter",
        help="Make low-rank adapters of these layers and ranks inputs, so that others go in without compiling.",
        metavar="FILE",
    ),
]
MergeAdapterOption = Annotated[
    Path | None, typer.Option("--merge-adapter", help="Add these low-rank adapters to the weights.", metavar="FILE")
]
MaxMemoryOption = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        help="Fail (exit 4) when weights, caches and working memory need more, such as 512MB or 2GB.",
        metavar="SIZE",
    ),
]

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def parse_size(text: str) -> int:
    """Read a number of bytes with a unit.

    Raises:
        UsageError: when it is none.
    """
    digits = text.strip().rstrip("bBkKmMgGiI")
    unit = text.strip()[len(digits) :].upper()
    try:
        number = float(digits)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf") or unit not in UNITS:
        raise UsageError(f"{text!r} is no size", hint="for example 512MB, 2GB or 1.5GiB")
    return int(number * UNITS[unit])


def language_model_options(  # one parameter an option
    context: int | None,
    chunk: int | None,
    speculate: list[int] | None,
    cache: CacheChoice | None,
    *,
    cache_type: CacheType | None = None,
    cache_scales: CacheScalesChoice = CacheScalesChoice.tensor,
    last_logits: bool,
    hints: Path | None,
    tokenizer: list[Path] | None,
    max_memory: str | None,
    adapter: Path | None = None,
    merge_adapter: Path | None = None,
) -> LanguageModelOptions | None:
    """Return what is asked for, or None where no context is given.

    Raises:
        UsageError: when options for a decoder are given without a context.
    """
    others = {
        "--chunk": chunk,
        "--decode-tokens": speculate,
        "--cache": cache,
        "--cache-type": cache_type,
        "--last-logits": last_logits,
        "--decoder-hints": hints,
        "--tokenizer": tokenizer,
        "--max-memory": max_memory,
        "--adapter": adapter,
        "--merge-adapter": merge_adapter,
    }
    given = [name for name, value in others.items() if value]
    if context is None:
        if given:
            raise UsageError(f"{given[0]} is for language models", hint="give --context N too")
        return None
    if cache_scales is not CacheScalesChoice.tensor and cache_type is None:
        raise UsageError("--cache-scales is for caches of integers", hint="give --cache-type int8 too")
    from npuopt.road.options import LanguageModelOptions

    return LanguageModelOptions(
        context=context,
        chunk=chunk if chunk is not None else min(LanguageModelOptions.chunk, context),
        speculate=tuple(dict.fromkeys(speculate or ())),
        form=None if cache is None else cache.value,
        cache_type=None if cache_type is None else cache_type.value,
        cache_scales=cache_scales.value,
        last_logits=last_logits,
        hints=hints,
        adapter=adapter,
        merge_adapter=merge_adapter,
        tokenizer=tuple(tokenizer or ()),
        max_memory=None if max_memory is None else parse_size(max_memory),
    )
