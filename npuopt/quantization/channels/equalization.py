"""Factors that give channels between linear layers the same range in the weights on both sides.

Source: Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", ICCV 2019, section 4.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.graph import constant
from npuopt.quantization.channels.joint import times_channels, times_features
from npuopt.quantization.channels.smoothing import centred, feature_sizes
from npuopt.target.channels import channel_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Node
    from npuopt.quantization.channels.joint import Joint

SETTLED = 1.01
"""Factors all closer to 1 than this are not worth a copy of the weights."""


def equalizing_factors(found: Sequence[Joint], rounds: int) -> dict[str, list[float]]:
    """Return factors by the name of what a joint's maker makes, for those joints that have something to equalize.

    Args:
        found: joints with linear makers, in graph order.
        rounds: how often to go over them: what one needs changes what its neighbours need.
    """
    nodes = dict.fromkeys(node for joint in found for node in (joint.maker, *(item.node for item in joint.readers)))
    weights = {node: np.asarray(constant(node.inputs[1]), np.float32) for node in nodes}
    total = {joint.name: np.ones(joint.count) for joint in found}
    for _ in range(rounds):
        for joint in found:
            factors = _balance(joint, weights)
            total[joint.name] = total[joint.name] * factors
            weights[joint.maker] = times_channels(joint.maker, weights[joint.maker], 1 / factors)
            for reader in joint.readers:
                weights[reader.node] = times_features(reader.node, weights[reader.node], factors[reader.channels])
    return {
        name: factors.tolist() for name, factors in total.items() if np.maximum(factors, 1 / factors).max() > SETTLED
    }


def _balance(joint: Joint, weights: dict[Node, np.ndarray]) -> np.ndarray:
    """Return sqrt(range ahead / range behind) of each channel; 1 where either side holds only zeros."""
    axis = cast("int", channel_axis(joint.maker, 1))
    weight = weights[joint.maker]
    ahead = np.abs(np.moveaxis(weight, axis, 0).reshape(joint.count, -1)).max(axis=1).astype(np.float64)
    behind = np.zeros(joint.count)
    for reader in joint.readers:
        np.maximum.at(behind, reader.channels, feature_sizes(reader.node, weights[reader.node]))
    live = (ahead > 0) & (behind > 0)
    factors = np.ones(joint.count)
    factors[live] = centred(np.sqrt(ahead[live] / behind[live])) if live.any() else 1
    return factors
