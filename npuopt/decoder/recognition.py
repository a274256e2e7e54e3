"""Recognises a decoder in a model whose shapes are still free, once it is cleaned and fused.

The structure is read off standard ops: Attention, Gather, MatMul. What masks and positions mean is not guessed from
how they are written: whatever depends on lengths and positions alone is computed at a few lengths and looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.decoder.dependence import depends_on_content, made_of_lengths
from npuopt.decoder.description import Decoder, PositionTable
from npuopt.decoder.ends import find_head, find_logits, find_tokens, table_of
from npuopt.decoder.facts import facts_of
from npuopt.decoder.hints import NO_HINTS
from npuopt.decoder.layers import MASK, attentions, caches, read_layer, stray_caches
from npuopt.decoder.masks import MaskKind, mask_kind
from npuopt.decoder.trials import Roles, Trials
from npuopt.errors import InputError
from npuopt.graph import attribute, dims, input_at, label

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from npuopt.decoder.hints import Hints, InputRole
    from npuopt.decoder.source import Source
    from npuopt.graph import Model, Node, Value


def recognise(
    model: Model, context: int, hints: Hints = NO_HINTS, source: Source | None = None, given: Collection[str] = ()
) -> Decoder:
    """Return what the decoder is, for a context of so many tokens.

    Args:
        model: cleaned and fused.
        context: the most tokens that are looked at.
        hints: what the graph does not tell.
        source: what it took of an encoder, before that became `given`.
        given: the inputs for keys, values and the mask of the source.

    Raises:
        InputError: when it is none, or something of it is not clear; the hint says what would make it so.
    """
    found = attentions(model)
    logits, vocabulary = find_logits(model, hints)
    tokens, lookup = find_tokens(model, vocabulary, hints)
    past = caches(model)
    of_source = tuple(value for value in model.graph.inputs if value.name in given)
    if strays := stray_caches(model, (*past, *of_source)):
        raise InputError(
            f"input {strays[0]!r} looks like a cache, and no attention takes it as its past keys or values",
            hint="keys and values must be joined with the new ones along their length",
        )
    roles = Roles(tokens, past, _other_inputs(model, tokens, (*past, *of_source), hints))
    content = depends_on_content(model, (tokens, *past, *of_source))
    made = made_of_lengths(model, content)
    masks = _masks(found, content)
    others = [value for value in made if value not in masks]
    trials = Trials(model, [*masks, *others], roles)
    kinds = {value.name: mask_kind(value.name or "", trials, context) for value in masks}
    layers = [read_layer(node, *_window(index, node, kinds, hints)) for index, node in enumerate(found)]
    head = find_head(logits)
    decoder = Decoder(
        tokens=tokens.name if lookup is not None else None,
        embeddings=None if lookup is not None else tokens.name,
        logits=logits.name or "",
        vocabulary=vocabulary,
        context=context,
        layers=tuple(layers),
        tables=tuple(_table(value, trials, context) for value in others),
        table="" if lookup is None else table_of(lookup),
        lookup="" if lookup is None else lookup.outputs[0].name or "",
        head="" if head is None else head.outputs[0].name or "",
        extra=tuple(roles.others),
        biases={name or "": kind.bias for name, kind in kinds.items() if kind.bias is not None},
        source=source,
    )
    decoder.facts.update(facts_of(model, decoder))
    return decoder


def _other_inputs(model: Model, tokens: Value, past: Sequence[Value], hints: Hints) -> dict[str, InputRole]:
    """Return what each remaining input is: as long as the new tokens are positions, longer ones mask padding."""
    new = (dims(tokens) or (None, None))[1]
    roles: dict[str, InputRole] = {}
    for value in model.graph.inputs:
        name = value.name or ""
        shape: tuple[int | str | None, ...] = dims(value) or ()
        if value is tokens or value in past or value.is_initializer():
            continue
        if name in hints.inputs:
            roles[name] = hints.inputs[name]
        elif len(shape) in (1, 2) and not isinstance(shape[len(shape) - 1], int):
            as_long = shape[len(shape) - 1] == new
            roles[name] = "attention-mask" if not as_long else "positions" if past else _by_use(value)
        else:
            raise InputError(
                f"what input {name!r} of shape {list(shape)} is for is not clear",
                hint=f"say `inputs: {{{name}: positions}}` or attention-mask in a file for --decoder-hints",
            )
    return roles


def _by_use(value: Value) -> InputRole:
    """Without a cache, masks and positions are of one length: a mask is compared, made float or less than truth."""
    readers = {use.node.op_type for use in value.uses()}
    return "positions" if readers <= {"Gather", "Unsqueeze", "RotaryEmbedding", "Mul"} else "attention-mask"


def _masks(found: Sequence[Node], content: set[Value]) -> list[Value]:
    masks: dict[Value, None] = {}
    for node in found:
        mask = input_at(node, MASK)
        if mask is None:
            continue
        if mask in content:
            raise InputError("its mask depends on which tokens there are", where=f"node {label(node)}")
        masks[mask] = None
    return list(masks)


def _window(index: int, node: Node, kinds: Mapping[str | None, MaskKind], hints: Hints) -> tuple[int | None, str]:
    """Return how far a layer looks back, and the name of the bias that its mask adds."""
    mask = input_at(node, MASK)
    kind = MaskKind() if mask is None else kinds[mask.name]
    bias = "" if mask is None or kind.bias is None else mask.name or ""
    if index in hints.windows:
        return hints.windows[index] or None, bias
    if mask is not None:
        return kind.window, bias
    if attribute(node, "is_causal", 0):
        return None, ""
    raise InputError("shows every token all others, later ones too, so this is no decoder", where=f"node {label(node)}")


def _table(value: Value, trials: Trials, context: int) -> PositionTable:
    """Return what belongs to each position.

    Raises:
        InputError: when the value depends on anything but positions.
    """
    name = value.name or ""
    small, larger = (trials.run(new, trials.past)[name] for new in (3, 5))
    axes = [axis for axis, sizes in enumerate(zip(small.shape, larger.shape, strict=True)) if sizes == (3, 5)]
    whole = trials.run(context, 0)[name]
    if len(axes) == 1 and small.ndim == larger.ndim == whole.ndim:
        rows = np.moveaxis(whole, axes[0], 0)
        first, last = trials.past, context - 1 if trials.past else 0
        alone = trials.run(context - last, last)[name]
        same = np.array_equal(np.moveaxis(small, axes[0], 0), rows[first : first + 3])
        if same and np.allclose(np.moveaxis(alone, axes[0], 0)[-1], rows[-1], rtol=1e-4, atol=1e-5):
            return PositionTable(name, axes[0], np.ascontiguousarray(rows))
    readers = sorted({label(use.node) for use in value.uses()})
    raise InputError(
        f"{name!r} depends on lengths and is not one row for each position: {list(small.shape)} for 3 new tokens,"
        f" {list(larger.shape)} for 5",
        where=f"node {readers[0]}" if readers else "",
    )
