"""Factors for channels that a product lets pass on their way to linear layers, as attention does with its values.

Rounding the operand adds noise to every channel that the layers behind see, and so does rounding what they read and
their weights. Factors change all three: chosen is what makes their sum least, as it is expected from the channels'
ranges and powers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.graph import constant
from npuopt.quantization.arithmetic import limits
from npuopt.quantization.channels.joint import feature_axes
from npuopt.quantization.channels.operands import best, step
from npuopt.quantization.channels.smoothing import lifted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Node
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.channels.joint import Joint
    from npuopt.quantization.channels.operand_statistics import Spread
    from npuopt.quantization.channels.operands import Format


@dataclass(frozen=True)
class Operand:
    """What a product lets pass.

    Attributes:
        held: how the operand is held.
        seen: what was seen of the joint's channels there.
        gain: the power of the noise behind the product over that in front of it: the sum of the other operand's
            squares along what is summed.
    """

    held: Format
    seen: Spread
    gain: float


@dataclass(frozen=True)
class Layer:
    """A linear layer at the end of the way.

    Attributes:
        node: MatMul or Gemm.
        channels: the joint's channel of each of its features.
        held: how what it reads is held.
        seen: what was seen of its features.
        weight: integer type of its weights.
        by_channel: whether these have one scale for each output channel.
    """

    node: Node
    channels: np.ndarray
    held: Format
    seen: Spread
    weight: IntegerType
    by_channel: bool


def movable(joint: Joint) -> np.ndarray:
    """Return which of a joint's channels only linear layers take factors of."""
    free = np.zeros(joint.count, bool)
    for reader in joint.readers:
        free[reader.channels] = True
    for product in joint.products:
        free[product.channels] = False
    free[joint.ties] = False
    return free


def evened(joint: Joint, operand: Operand, layers: Sequence[Layer]) -> np.ndarray | None:
    """Return factors for the joint's channels, or None where they would gain too little."""
    free = movable(joint)
    weights = [_by_feature(layer) for layer in layers]

    def spread_out(of_free: np.ndarray) -> np.ndarray:
        factors = np.ones(joint.count)
        factors[free] = of_free
        return factors

    def noise(of_free: np.ndarray) -> float:
        factors = spread_out(of_free)
        ahead = operand.gain * step(operand.held, operand.seen.low / factors, operand.seen.high / factors) ** 2
        return sum(_noise(layer, weight, factors, ahead) for layer, weight in zip(layers, weights, strict=True))

    size = lifted(np.maximum(-operand.seen.low, operand.seen.high)[free])
    found = best(noise, int(free.sum()), lambda share: size ** (1 - share))
    return None if found is None else spread_out(found)


def _noise(layer: Layer, weight: np.ndarray, factors: np.ndarray, ahead: float) -> float:
    """Return the noise of a layer's results, as a share of their power (all over 12)."""
    own = factors[layer.channels]
    rescaled = weight * own[:, None]
    read = step(layer.held, layer.seen.low / own, layer.seen.high / own) ** 2
    peaks = np.abs(rescaled).max(axis=0)
    steps = (peaks if layer.by_channel else np.full_like(peaks, peaks.max(initial=0))) / limits(layer.weight)[1]
    rounding = float((layer.seen.power / own**2).sum()) * float(np.square(steps).sum())
    result = float(layer.seen.power @ np.square(weight).sum(axis=1))
    return ((ahead + read) * float(np.square(rescaled).sum()) + rounding) / max(result, np.finfo(np.float64).tiny)


def _by_feature(layer: Layer) -> np.ndarray:
    """Return the layer's weights, [features, outputs]."""
    weight = cast("np.ndarray", constant(layer.node.inputs[1])).astype(np.float64)
    return np.moveaxis(weight, feature_axes(layer.node)[0], 0)
