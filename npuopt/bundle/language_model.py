"""What an artifact says of a language model: its profiles, its cache, and who makes which input.

Names of inputs and outputs are the same in all profiles of an artifact; only the sequence length differs, and with it
the shapes. Batch is 1. With S new tokens, L places in a layer's cache and C tokens of context:

- cache form `new`: the cache [1, heads, L, size] goes in; the S new keys and values come out, and the caller writes
  them into its buffer: token at position p goes to place p (global layers) or p % L (layers with a window). Masks are
  [1, 1, S, L + S]: the cache's places first, then the new tokens.
- cache form `in-place`: the whole cache goes in and comes out, with the new tokens written at places
  `write_position`, `write_position` + 1, ... (modulo L in layers with a window). Masks are [1, 1, S, L].
- cache form `whole`: the whole cache goes in and comes out, moved S places towards its start, the new tokens at its
  end. Masks are [1, 1, S, L]. Padding belongs ahead of a text's first tokens.

A mask is `shown` (0) where a query sees a key, `hidden` elsewhere: keys of tokens at the query's position or before
it, and with a window w after `position - w`. A query of padding may see nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from pydantic import Field

from npuopt.bundle.embedding import EmbeddingTable, Positive
from npuopt.bundle.manifest_parts import RelativePath, Step, StrictRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CacheForm: TypeAlias = Literal["new", "in-place", "whole"]


class HeldAs(StrictRecord):
    """How a tensor's numbers are held as integers: number = (integer - zero_point) * scale.

    Attributes:
        dtype: such as uint8 or uint16.
        scale: one, or one for each place along `axis`.
        zero_point: as many as scales.
        axis: None where there is one scale.
    """

    dtype: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None


class CacheTensor(StrictRecord):
    """The keys or the values that one layer keeps.

    Attributes:
        layer: counted from 0.
        kind: keys or values.
        input: the graph's input that takes the cache, float [1, heads, length, size].
        output: what comes out of the graph, see the cache forms.
        heads, size, length: the shape.
        window: how many tokens back the layer looks, itself included; None for all.
        dtype: element type of the graph's input and output.
        held_as: how the graph rounds it, inside; a caller may store the integers. None where it is float.
    """

    layer: int
    kind: Literal["key", "value"]
    input: str
    output: str
    heads: Positive
    size: Positive
    length: Positive
    window: Positive | None = None
    dtype: str = "float32"
    held_as: HeldAs | None = None


class MaskInput(StrictRecord):
    """A mask that the caller makes.

    Attributes:
        name: the graph's input, float.
        length: the cache's places that it covers.
        window: of the layers that read it.
        bias: what it holds for a key that is seen instead of 0: for each head, a number by the distance from query to
            key, 0 first; the last one is for all that are farther. A mask with a bias is [1, heads, S, places].
    """

    name: str
    length: Positive
    window: Positive | None = None
    bias: tuple[tuple[float, ...], ...] = ()


class GraphPart(StrictRecord):
    """One static graph of the model.

    Attributes:
        name: of the part.
        model: the ONNX file, runnable in ONNX Runtime; shares its weights with the other parts'.
        folder: where the paths of `steps` start.
        steps: what to run, in order, as for an artifact of one graph.
    """

    name: str
    model: RelativePath
    folder: RelativePath
    steps: tuple[Step, ...] = ()


class Profile(GraphPart):
    """One static form of the decoder, called `prefill`, `decode` or otherwise.

    Attributes:
        sequence: new tokens in a run.
        logits: `all` [1, sequence, vocabulary], or `last` [1, 1, vocabulary].
    """

    sequence: Positive
    logits: Literal["all", "last"] = "all"


class CrossCache(StrictRecord):
    """The keys or the values that one layer reads of the source.

    Attributes:
        name: the output of the part `cross` and the input of every profile, [1, heads, length, size].
        heads, size: of its shape.
        dtype: element type of both.
    """

    name: str
    heads: Positive
    size: Positive
    dtype: str = "float32"


class SourceRecord(StrictRecord):
    """What the decoder reads besides its own tokens: a text or a sound, led through an encoder once.

    The part `encoder` makes states of it, the part `cross` the keys and values of all layers, which every profile
    takes. Sources that are shorter are padded at the end, where there are masks: `encoder_mask` is [1, 1, length,
    length], `cross_mask` [1, 1, sequence, length], 0 for what counts and the record's `hidden` for padding.

    Attributes:
        input: the encoder's input.
        shape, dtype: of it; int64 [1, length] for token ids.
        vocabulary: how many ids there are; None where the input is no tokens.
        length: of the states.
        encoder_mask: the encoder's input for its mask; None where it takes none.
        states: the encoder's output.
        states_input: the input of `cross` for it.
        cross_mask: the profiles' input for their mask of the source; None where they take none.
        caches: the keys and values.
        start_token: what an answer begins with.
        encoder, cross: the parts.
    """

    input: str
    shape: tuple[Positive, ...]
    dtype: str
    vocabulary: Positive | None = None
    length: Positive
    encoder_mask: str | None = None
    states: str
    states_input: str
    cross_mask: str | None = None
    caches: tuple[CrossCache, ...]
    start_token: int
    encoder: GraphPart | None = None
    cross: GraphPart | None = None

    @property
    def parts(self) -> tuple[GraphPart, ...]:
        """Both parts, once they are compiled."""
        return tuple(part for part in (self.encoder, self.cross) if part is not None)


class AdapterInput(StrictRecord):
    """The low-rank adapter of one layer, an input in two halves: zeros in `up` leave the layer as it was.

    Attributes:
        layer: its name, as in adapter files.
        down: the input [features, rank], float.
        up: the input [rank, outputs], float; A and B transposed, B times alpha / rank.
        features, rank, outputs: their shapes.
    """

    layer: str
    down: str
    up: str
    features: Positive
    rank: Positive
    outputs: Positive


class LanguageModelRecord(StrictRecord):
    """A decoder in static profiles, and everything that a runtime needs to drive it.

    Attributes:
        vocabulary_size: rows of the embedding.
        context_length: most tokens that the cache holds.
        positions: how many positions the graph knows; `position_ids` lie below it.
        layers: of the decoder.
        cache_form: see the module.
        tokens: the input for token ids, int64 [1, sequence]; None where `embeddings` is there instead.
        embeddings: the input for looked-up vectors, float32 [1, sequence, width].
        position_ids: the input for positions, int64 [1, sequence]; None where the model has none.
        write_position: the input, int64 [1], of the form `in-place`.
        last_token: the input, int64 [1], that says which of a run's tokens the logits are for, where they are for one.
        logits: the output.
        masks: made by the caller.
        hidden: what a mask holds where a key is hidden; it is 0 elsewhere.
        caches: keys and values of all layers.
        profiles: by falling sequence length.
        embedding: the table, where it is split off.
        adapters: low-rank adapters that are inputs of every profile.
        tokenizer: files of the tokenizer, as given.
        source: what an encoder makes for the decoder; None for a decoder alone.
        facts: what was recognised, for people: rotary or learned positions, groups of heads and so on.
    """

    vocabulary_size: Positive
    context_length: Positive
    positions: Positive
    layers: Positive
    cache_form: CacheForm
    tokens: str | None
    embeddings: str | None = None
    position_ids: str | None = None
    write_position: str | None = None
    last_token: str | None = None
    logits: str
    masks: tuple[MaskInput, ...] = ()
    hidden: float = -200.0
    caches: tuple[CacheTensor, ...]
    profiles: tuple[Profile, ...] = Field(min_length=1)
    embedding: EmbeddingTable | None = None
    adapters: tuple[AdapterInput, ...] = ()
    tokenizer: tuple[RelativePath, ...] = ()
    source: SourceRecord | None = None
    facts: dict[str, str] = Field(default_factory=dict)

    @property
    def parts(self) -> tuple[GraphPart, ...]:
        """All static graphs: the profiles, and what is made of a source."""
        return (*self.profiles, *(() if self.source is None else self.source.parts))

    def profile(self, name: str) -> Profile:
        """Return a profile by name.

        Raises:
            KeyError: when there is none.
        """
        return next(found for found in self.profiles if found.name == name)


def bias_by_distance(bias: Sequence[Sequence[float]], distance: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return what a mask holds for keys that are seen, [heads, queries, keys]: see `MaskInput.bias`.

    Args:
        bias: for each head, numbers by distance; one head of zeros where empty.
        distance: from query to key, [queries, keys]; what is not seen may be negative.
    """
    numbers = np.array(bias or ((0.0,),), np.float32)
    return numbers[:, np.clip(distance, 0, numbers.shape[1] - 1)]
