"""Options of the commands that make static profiles of a language model."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

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


class EmbeddingChoice(StrEnum):
    """Where tokens are looked up."""

    graph = "graph"
    host = "host"


class HeadChoice(StrEnum):
    """Where logits are computed."""

    graph = "graph"
    region = "region"


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


@dataclass(frozen=True, kw_only=True)
class DecoderOptions:
    """What is known of a decoder, and how it is frozen."""

    panel: ClassVar[str] = "Language models"

    context: Annotated[
        int | None,
        typer.Option(
            "--context", min=1, help="The model is a decoder: give it a cache of so many tokens.", metavar="N"
        ),
    ] = None
    chunk: Annotated[
        int | None,
        typer.Option("--chunk", min=1, help="New tokens in a run of the profile prefill (128, or the context)."),
    ] = None
    cache: Annotated[
        CacheChoice | None,
        typer.Option(
            "--cache",
            help="What of the cache comes out: new keys and values, the cache written in place, or the whole cache"
            " moved along; the target's own choice without it.",
        ),
    ] = None
    decoder_hints: Annotated[
        Path | None,
        typer.Option("--decoder-hints", help="A YAML file that says what the graph does not tell.", metavar="FILE"),
    ] = None
    encoder: Annotated[
        Path | None,
        typer.Option(
            "--encoder", help="The model is the decoder of an encoder-decoder, and this its encoder.", metavar="FILE"
        ),
    ] = None
    source_length: Annotated[
        int | None,
        typer.Option(
            "--source-length", min=1, help="Tokens that the encoder takes, where its file leaves it free (128)."
        ),
    ] = None

    def language_model(self) -> LanguageModelOptions | None:
        """Return what was asked for, as the road takes it; None where no context is given.

        Raises:
            UsageError: when options for a decoder are given without a context, or that do not go together.
        """
        if self.context is None:
            self._refuse_others()
            return None
        if self.encoder is None and self.source_length is not None:
            raise UsageError("--source-length is for encoder-decoders", hint="give --encoder FILE too")
        from npuopt.road.options import LanguageModelOptions

        length = LanguageModelOptions.source_length if self.source_length is None else self.source_length
        return LanguageModelOptions(
            context=self.context,
            chunk=self.chunk if self.chunk is not None else min(LanguageModelOptions.chunk, self.context),
            form=None if self.cache is None else self.cache.value,
            hints=self.decoder_hints,
            encoder=self.encoder,
            source_length=length,
        )

    def _refuse_others(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) != field.default:
                raise UsageError(
                    f"--{field.name.replace('_', '-')} is for language models", hint="give --context N too"
                )


@dataclass(frozen=True, kw_only=True)
class ProfileOptions(DecoderOptions):
    """All that can be asked of static profiles."""

    decode_tokens: Annotated[
        list[int] | None,
        typer.Option("--decode-tokens", min=2, help="Add a profile decode_K of K new tokens.", metavar="K"),
    ] = None
    cache_type: Annotated[
        CacheType | None,
        typer.Option("--cache-type", help="Hold keys and values as integers, in the caller's memory too."),
    ] = None
    cache_scales: Annotated[
        CacheScalesChoice,
        typer.Option("--cache-scales", help="An integer cache has one scale, or one for each head or channel."),
    ] = CacheScalesChoice.tensor
    last_logits: Annotated[
        bool, typer.Option("--last-logits", help="Compute the logits of one token of a run only, which an input names.")
    ] = False
    embedding: Annotated[
        EmbeddingChoice,
        typer.Option(
            "--embedding",
            help="Look tokens up in the graphs, or on the host in a mapped table: a tied head's own weights.",
        ),
    ] = EmbeddingChoice.graph
    head: Annotated[
        HeadChoice,
        typer.Option(
            "--head",
            help="Compute logits with the rest, or in a region of their own, which runs only where they are wanted.",
        ),
    ] = HeadChoice.graph
    share_weights: Annotated[
        bool,
        typer.Option(
            "--share-weights", help="Compile all profiles into one binary with their weights once (Qualcomm)."
        ),
    ] = False
    tokenizer: Annotated[
        list[Path] | None,
        typer.Option("--tokenizer", help="Carry this file of the tokenizer along.", metavar="FILE"),
    ] = None
    max_memory: Annotated[
        str | None,
        typer.Option(
            "--max-memory",
            help="Fail (exit 4) when weights, caches and working memory need more, such as 512MB or 2GB.",
            metavar="SIZE",
        ),
    ] = None
    fit: Annotated[
        bool,
        typer.Option(
            "--fit",
            help="Where --max-memory is passed, take the context that fits, or with --precision auto fewer bits.",
        ),
    ] = False
    adapter: Annotated[
        Path | None,
        typer.Option(
            "--adapter",
            help="Make low-rank adapters of these layers and ranks inputs, so that others go in without compiling.",
            metavar="FILE",
        ),
    ] = None
    merge_adapter: Annotated[
        Path | None, typer.Option("--merge-adapter", help="Add these low-rank adapters to the weights.", metavar="FILE")
    ] = None
    start_token: Annotated[
        int | None,
        typer.Option(
            "--start-token",
            min=0,
            help="What the decoder of an encoder-decoder begins with; as a configuration beside it says without this.",
        ),
    ] = None

    def language_model(self) -> LanguageModelOptions | None:
        """Return what was asked for, as the road takes it; None where no context is given.

        Raises:
            UsageError: when options for a decoder are given without a context, or that do not go together.
        """
        if self.context is not None and self.cache_type is None and self.cache_scales is not CacheScalesChoice.tensor:
            raise UsageError("--cache-scales is for caches of integers", hint="give --cache-type int8 too")
        if self.context is not None and self.encoder is None and self.start_token is not None:
            raise UsageError("--start-token is for encoder-decoders", hint="give --encoder FILE too")
        if self.fit and self.context is not None and self.max_memory is None:
            raise UsageError("--fit is for a limit of memory", hint="give --max-memory SIZE too")
        asked = super().language_model()
        return asked and replace(
            asked,
            speculate=tuple(dict.fromkeys(self.decode_tokens or ())),
            cache_type=None if self.cache_type is None else self.cache_type.value,
            cache_scales=self.cache_scales.value,
            last_logits=self.last_logits,
            embedding=self.embedding.value,
            head=self.head.value,
            share_weights=self.share_weights,
            tokenizer=tuple(self.tokenizer or ()),
            max_memory=None if self.max_memory is None else parse_size(self.max_memory),
            fit=self.fit,
            adapter=self.adapter,
            merge_adapter=self.merge_adapter,
            start_token=self.start_token,
        )
