"""Whether the factors of several joints cancel where products sum over their channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.graph import Node
    from npuopt.quantization.channels.joint import Joint

CLOSE = 1e-6
"""How far from 1 the product of two factors that cancel may be: the rounding of numbers written as text."""


def left_over(found: Mapping[str, tuple[Joint, np.ndarray]]) -> dict[str, str]:
    """Return which joints' factors would change what the model computes, and why.

    Args:
        found: joints with a factor for each channel, by name; all that are to be moved at once.
    """
    refused = {name: why for name, (joint, factors) in found.items() if (why := _untied(joint, factors))}
    while True:
        left = {name: item for name, item in found.items() if name not in refused}
        more = _uncancelled(left)
        if not more:
            return refused
        refused |= more


def _untied(joint: Joint, factors: np.ndarray) -> str:
    first, second = factors[joint.ties].reshape(-1, 2).T
    return "" if np.allclose(first, second, rtol=CLOSE, atol=0) else "channels are added that have different factors"


def _uncancelled(found: Mapping[str, tuple[Joint, np.ndarray]]) -> dict[str, str]:
    sides: dict[Node, dict[int, np.ndarray]] = {}
    for joint, factors in found.values():
        for product in joint.products:
            sides.setdefault(product.node, {})[product.index] = factors[product.channels]
    wrong = {node for node, held in sides.items() if not _cancel(held)}
    return {
        name: f"its factors do not cancel in {label(product.node)} ({product.node.op_type})"
        for name, (joint, _) in found.items()
        for product in joint.products
        if product.node in wrong
    }


def _cancel(held: Mapping[int, np.ndarray]) -> bool:
    """Say whether each two factors that meet in a product are each other's reciprocals."""
    one = np.ones((1, 1))
    rows, columns = held.get(0, one), np.swapaxes(held.get(1, one), -1, -2)
    met = (rows * columns[..., :1, :], rows[..., :1, :] * columns)
    return all(np.allclose(each, 1, rtol=CLOSE, atol=0) for each in met)
