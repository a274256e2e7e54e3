"""Finds what a decoder reads of an encoder: its states, the attentions to them, and what hides their padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.decoder.dependence import depends_on_content
from npuopt.decoder.layers import MASK, heads_of
from npuopt.decoder.masks import HIDDEN
from npuopt.errors import InputError
from npuopt.graph import Session, dims, element_type, extract, input_at, label, nodes, rank

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value

KEY, VALUE = 1, 2
"""Positions of inputs of Attention."""
WAY_OUT = "the decoder must take the encoder's states, as decoder_model.onnx of an export in two decoders does"
SEED = 7


@dataclass(frozen=True)
class CrossLayer:
    """One layer's attention to the source.

    Attributes:
        attention: the first output of its Attention node.
        key, value: what it reads, [batch, heads, source, size], made from the states alone.
        heads: of keys and values.
        key_size, value_size: numbers in a head.
    """

    attention: str
    key: str
    value: str
    heads: int
    key_size: int
    value_size: int


@dataclass(frozen=True)
class Source:
    """What a decoder takes of an encoder.

    Attributes:
        states: the input for the encoder's states, [batch, source, width].
        mask: the input that says which of them count; empty where the decoder has none.
        layers: in order.
        masks: values of the cross attentions that depend on `mask`.
    """

    states: str
    mask: str
    layers: tuple[CrossLayer, ...]
    masks: tuple[str, ...]


def find_source(model: Model) -> Source | None:
    """Return what a decoder takes of an encoder; None where all its attentions are to its own tokens.

    Raises:
        InputError: when keys and values of the source are given instead of computed, or several inputs are states.
    """
    found: dict[Value, list[Node]] = {}
    attentions = nodes(model, "Attention")
    for states in [value for value in model.graph.inputs if _is_states(value)]:
        others = [value for value in model.graph.inputs if value is not states]
        own, rest = depends_on_content(model, (states,)), depends_on_content(model, others)
        cross = [node for node in attentions if _is_cross(node, own, rest)]
        if cross:
            found[states] = cross
    given = [node for node in attentions if all(_is_given(input_at(node, index)) for index in (KEY, VALUE))]
    if given:
        raise InputError(
            "takes keys and values of an encoder, and does not compute them", where=label(given[0]), hint=WAY_OUT
        )
    if len(found) > 1:
        raise InputError(f"reads several encoders: {', '.join(repr(value.name) for value in found)}")
    if not found:
        return None
    states, cross = next(iter(found.items()))
    masks = list(dict.fromkeys(mask for node in cross if (mask := input_at(node, MASK)) is not None))
    return Source(states.name or "", _mask_input(model, masks), tuple(map(_layer, cross)), _names(masks))


def require_padding_mask(model: Model, source: Source, new: str) -> None:
    """Check that masks of the cross attentions hide what the mask's input says, and add nothing to the rest.

    Args:
        model: the decoder, the source's length known.
        source: what it takes of the encoder.
        new: the input of tokens.

    Raises:
        InputError: when one does more than that.
    """
    if not source.masks:
        return
    session = Session(extract(model, outputs=list(source.masks)), threads=1, quiet=True)
    values = {value.name or "": value for value in model.graph.inputs}
    length = (dims(values[source.states]) or (1, 1))[1]
    padding = np.random.default_rng(SEED).integers(0, 2, length if isinstance(length, int) else 1)
    padding[0] = 1
    feeds = {name: _feed(values[name], padding if name == source.mask else None, new) for name in session.inputs}
    wanted = padding if source.mask in session.inputs else np.ones_like(padding)
    for name, mask in session.run(feeds).items():
        shown = mask if mask.dtype == np.bool_ else mask > HIDDEN
        adds = mask.dtype != np.bool_ and bool(np.any(mask[shown] != 0))
        if adds or not np.array_equal(shown, np.broadcast_to(wanted != 0, shown.shape)):
            raise InputError(f"mask {name!r} of the attention to an encoder does more than hide padding")


def _feed(value: Value, padding: np.ndarray | None, new: str) -> np.ndarray:
    kind = element_type(value)
    dtype = np.dtype(np.float32) if kind is None else kind.numpy()
    if padding is not None:
        return padding[None].astype(dtype)
    free = 3 if value.name == new else 2
    return np.zeros([size if isinstance(size, int) else free for size in dims(value) or ()], dtype)


def _is_states(value: Value) -> bool:
    shape, kind = dims(value) or (), element_type(value)
    return len(shape) == 3 and isinstance(shape[2], int) and kind is not None and kind.is_floating_point()


def _is_cross(node: Node, own: set[Value], rest: set[Value]) -> bool:
    key, value = input_at(node, KEY), input_at(node, VALUE)
    return key in own and value in own and key not in rest and value not in rest and input_at(node, 0) in rest


def _is_given(value: Value | None) -> bool:
    return value is not None and value.is_graph_input() and rank(value) == 4


def _mask_input(model: Model, masks: list[Value]) -> str:
    """Return the one input that all masks depend on.

    Raises:
        InputError: when they depend on more than one.
    """
    candidates = [value for value in model.graph.inputs if rank(value) == 2]
    found = [value for value in candidates if depends_on_content(model, (value,)) & set(masks)]
    if len(found) > 1:
        names = ", ".join(repr(value.name) for value in found)
        raise InputError(f"which input masks the source is not clear: candidates {names}")
    return found[0].name or "" if found else ""


def _layer(node: Node) -> CrossLayer:
    key, value = input_at(node, KEY), input_at(node, VALUE)
    (heads, key_size), (_, value_size) = (heads_of(item, f"node {label(node)}") for item in (key, value))
    names = [item.name or "" for item in (key, value) if item is not None]
    return CrossLayer(node.outputs[0].name or "", names[0], names[1], heads, key_size, value_size)


def _names(values: list[Value]) -> tuple[str, ...]:
    return tuple(value.name or "" for value in values)
