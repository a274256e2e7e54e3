"""What is known of a decoder once it is recognised: plain facts by the names of the graph's values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from npuopt.decoder.source import Source


@dataclass(frozen=True)
class Layer:
    """One layer's attention.

    Attributes:
        attention: the first output of its Attention node.
        mask: what that node reads as its mask; empty where it is causal by itself.
        key, value: what is new in this run, [batch, heads, new, size].
        past_key, past_value: graph inputs; None where the graph keeps no cache.
        present_key, present_value: graph outputs of all keys and values; empty where the graph has none.
        query_heads, heads: of queries, and of keys and values.
        key_size, value_size: numbers in a head.
        window: how many tokens back a query looks, itself included; None for all.
        scale, softcap: of the scores; None and 0 where they are the usual ones.
        bias: the name of the bias by distance that is added to the scores, see `Decoder.biases`; empty for none.
    """

    attention: str
    mask: str
    key: str
    value: str
    past_key: str | None
    past_value: str | None
    present_key: str
    present_value: str
    query_heads: int
    heads: int
    key_size: int
    value_size: int
    window: int | None = None
    scale: float | None = None
    softcap: float = 0.0
    bias: str = ""


@dataclass(frozen=True)
class PositionTable:
    """A value that depends on positions alone: angles of a rotation, a learned vector, or the positions themselves.

    Attributes:
        value: its name.
        axis: the one along which the new tokens lie.
        rows: what belongs to each position, that axis first.
    """

    value: str
    axis: int
    rows: np.ndarray = field(compare=False)

    @property
    def is_rotary(self) -> bool:
        """Say whether its numbers are cosines or sines: at the first position all ones, or all zeros."""
        first = self.rows[0]
        starts = bool((first == 1).all()) or bool((first == 0).all())
        return self.rows.dtype.kind == "f" and starts and bool((abs(self.rows) <= 1).all())


@dataclass(frozen=True)
class Decoder:
    """A decoder.

    Attributes:
        tokens: the input for token ids; None where `embeddings` is there instead.
        embeddings: the input for vectors of tokens.
        logits: the output.
        vocabulary: how many logits there are.
        context: the positions that the tables reach.
        layers: in order.
        tables: values by position.
        table: the constant that tokens are looked up in; empty where the graph has none.
        lookup: the looked-up vectors.
        head: the product that makes the logits, by its output; empty where it is not known.
        extra: other inputs, made anew by the caller: masks of padding, positions.
        biases: by name; what is added to each score, [heads, distance], the last one for all that is farther.
        source: what it takes of an encoder; None where it is no half of an encoder-decoder.
    """

    tokens: str | None
    embeddings: str | None
    logits: str
    vocabulary: int
    context: int
    layers: tuple[Layer, ...]
    tables: tuple[PositionTable, ...]
    table: str = ""
    lookup: str = ""
    head: str = ""
    extra: tuple[str, ...] = ()
    biases: dict[str, np.ndarray] = field(default_factory=dict[str, "np.ndarray"], compare=False)
    source: Source | None = None
    facts: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def has_cache(self) -> bool:
        """Say whether the graph takes past keys and values."""
        return any(layer.past_key is not None for layer in self.layers)

    @property
    def windows(self) -> tuple[int | None, ...]:
        """The kinds of masks that there are: all tokens first, then by window."""
        found = {layer.window for layer in self.layers}
        return (*([None] if None in found else []), *sorted(window for window in found if window is not None))

    @property
    def masks(self) -> tuple[tuple[int | None, str], ...]:
        """The kinds of masks that there are, by window and bias, in the order of `windows`."""
        found = {(layer.window, layer.bias) for layer in self.layers}
        return tuple(sorted(found, key=lambda kind: (kind[0] is not None, kind[0] or 0, kind[1])))
