"""What can be asked of generation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from npuopt.errors import UsageError
from npuopt.runtime.generation.confidence import Thresholds
from npuopt.runtime.generation.sampling import Sampling

WhenFull = Literal["stop", "slide"]


@dataclass(frozen=True)
class GenerateOptions:
    """Options of one answer.

    Attributes:
        max_tokens: the most tokens to say.
        sampling: how tokens are chosen.
        stop: texts that end the answer; they are not part of it.
        when_full: `stop` ends where the context is full; `slide` forgets the middle, keeps the first `sinks` tokens
            and the latest ones, and reads those anew. The first tokens stay as attention leans on them (Xiao et al.,
            "Efficient Streaming Language Models with Attention Sinks", ICLR 2024).
        sinks: how many of the first tokens stay.
        past_end: go on after an end token.
        thresholds: when the answer counts as doubtful.

    Raises:
        UsageError: when a number is out of its range.
    """

    max_tokens: int = 128
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    when_full: WhenFull = "stop"
    sinks: int = 4
    past_end: bool = False
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UsageError("no token is asked for", hint="give --max-tokens of at least 1")
        if self.when_full not in ("stop", "slide"):
            raise UsageError(f"there is no way {self.when_full!r} to meet a full context", hint="use stop or slide")
        if self.sinks < 0:
            raise UsageError("the number of attention sinks is negative")
