# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; only the worker imports this file.
"""Attention, as MIL's scaled_dot_product_attention (iOS 18)."""

import math

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813
from onnx_to_mil.table import Node, Value, emits, rank, variable


def _repeated(value: Value, heads: int) -> Value:
    """Give every query head its key or value head: heads next to each other share one."""
    batch, given, length, width = value.shape
    if given == heads:
        return value
    parts = mb.tile(x=mb.expand_dims(x=value, axes=[2]), reps=[1, 1, heads // given, 1, 1])
    return mb.reshape(x=parts, shape=[batch, heads, length, width])


def _whole(mask: Value, length: int, keys: int) -> Value:
    """Give a mask its last two dimensions in full: MIL does not spread them."""
    if rank(mask) < 2:
        mask = mb.reshape(x=mask, shape=[1] * (2 - rank(mask)) + list(mask.shape))
    reps = [1] * (rank(mask) - 2) + [
        size if given == 1 else 1 for given, size in zip(mask.shape[-2:], (length, keys), strict=True)
    ]
    return mb.tile(x=mask, reps=reps) if max(reps) > 1 else mask


@emits("Attention")
def attention(node: Node) -> Value:
    """Heads apart (4-D), with a mask or causal; the scale goes into the query where it is not MIL's own."""
    query, key, value = map(variable, node.inputs[:3])
    mask = node.input(3)
    if rank(query) != 4 or any(node.input(index) is not None for index in (4, 5, 6)) or node.get("softcap", 0.0):
        raise ValueError("attention with a cache, capped scores or heads side by side is not taken")
    heads, length, width = query.shape[1:]
    key, value = _repeated(key, heads), _repeated(value, heads)
    own = 1 / math.sqrt(width)
    if (scale := node.get("scale") or own) != own:
        query = mb.mul(x=query, y=np.float32(scale / own))
    if node.get("is_causal", 0):
        causal = np.tril(np.ones((length, key.shape[2]), bool))
        if mask is not None:
            raise ValueError("causal attention with a mask is not taken")
        mask = causal
    given = {} if mask is None else {"attn_mask": _whole(variable(mask), length, key.shape[2])}
    return mb.scaled_dot_product_attention(query=query, key=key, value=value, **given)
