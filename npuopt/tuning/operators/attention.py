"""Attention, and the rotation of its queries and keys by their positions."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from npuopt.errors import InputError
from npuopt.graph import attribute, label
from npuopt.tuning.operators.inputs import filled_up
from npuopt.tuning.operators.movement import CAST_TO
from npuopt.tuning.torch_api import functional, torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from npuopt.graph import Node
    from npuopt.tuning.torch_api import Tensor

FLAT = 3
"""Rank of tensors whose heads lie side by side in the last axis."""


def _attention(node: Node, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the mixed values, then keys and values with those of the past ahead of them."""
    query, key, value, mask, past_key, past_value, lengths = filled_up(inputs, 7)
    if lengths is not None:
        raise InputError("Attention with lengths of its cache cannot be tuned through", where=label(node))
    is_flat = query.ndim == FLAT
    query = _by_head(query, attribute(node, "q_num_heads", 0))
    key, value = (_by_head(each, attribute(node, "kv_num_heads", 0)) for each in (key, value))
    past = 0 if past_key is None else past_key.shape[2]
    key = key if past_key is None else torch.cat([past_key, key], dim=2)
    value = value if past_value is None else torch.cat([past_value, value], dim=2)
    shared = query.shape[1] // key.shape[1]
    scale = attribute(node, "scale", 0.0) or 1 / sqrt(query.shape[-1])
    scores = scale * query @ key.repeat_interleave(shared, dim=1).transpose(-1, -2)
    if cap := attribute(node, "softcap", 0.0):
        scores = cap * torch.tanh(scores / cap)
    mixed = _weights(node, scores, mask, past) @ value.repeat_interleave(shared, dim=1)
    return (mixed.transpose(1, 2).flatten(2) if is_flat else mixed), key, value


def _by_head(tensor: Tensor, heads: int) -> Tensor:
    """Return [batch, heads, length, size]."""
    return tensor if tensor.ndim != FLAT else tensor.unflatten(2, (heads, -1)).transpose(1, 2)


def _weights(node: Node, scores: Tensor, mask: Tensor, past: int) -> Tensor:
    """Return the softmax of what the masks leave of the scores; rows of which they leave nothing are zero.

    Args:
        node: says whether keys behind a query are hidden.
        scores: of each query and key.
        mask: None where there is none.
        past: keys ahead of the first query.
    """
    allowed = torch.ones(scores.shape[-2:], dtype=torch.bool)
    if attribute(node, "is_causal", 0):
        allowed = torch.tril(allowed, past)
    if mask is not None:
        is_added = mask.dtype.is_floating_point
        missing = scores.shape[-1] - mask.shape[-1]
        mask = functional.pad(mask, (0, missing), value=float("-inf") if is_added else False)
        shown = mask > float("-inf") if is_added else mask
        allowed = allowed & shown
        scores = scores + mask.where(shown, 0.0) if is_added else scores
    precision = CAST_TO.get(attribute(node, "softmax_precision", 0))
    held = scores.where(allowed, torch.finfo(scores.dtype).min)  # a gradient through minus infinity would be NaN
    held = held if precision is None else held.to(getattr(torch, precision))
    return torch.softmax(held, dim=-1).to(scores.dtype).where(allowed, 0.0)


def _rotary_embedding(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Turn pairs of each head's elements by the angles of their positions; what is beyond the angles stays."""
    data, cosines, sines, positions = filled_up(inputs, 4)
    by_head = _by_head(data, attribute(node, "num_heads", 0))
    if positions is not None:
        cosines, sines = cosines[positions], sines[positions]
    cosines, sines = cosines.unsqueeze(1), sines.unsqueeze(1)
    size = attribute(node, "rotary_embedding_dim", 0) or by_head.shape[-1]
    turned, rest = by_head[..., :size], by_head[..., size:]
    is_interleaved = attribute(node, "interleaved", 0)
    first, second = (turned[..., 0::2], turned[..., 1::2]) if is_interleaved else turned.chunk(2, dim=-1)
    pair = first * cosines - second * sines, first * sines + second * cosines
    joined = torch.stack(pair, dim=-1).flatten(-2) if is_interleaved else torch.cat(pair, dim=-1)
    made = torch.cat([joined, rest], dim=-1)
    return made.transpose(1, 2).flatten(2) if data.ndim == FLAT else made


ATTENTION: dict[str, Callable[[Node, Sequence[Tensor]], Tensor | tuple[Tensor, ...]]] = {
    "Attention": _attention,
    "RotaryEmbedding": _rotary_embedding,
}
