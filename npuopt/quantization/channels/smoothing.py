"""Chooses factors for the channels of a joint: how much of a channel's range is better left to the weights behind.

Source of the form: Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language
Models", ICML 2023, equation 4; with mean magnitudes in place of ranges: Lin et al., "AWQ: Activation-aware Weight
Quantization for LLM Compression and Acceleration", MLSys 2024, equation 4. The exponent is not fixed but searched for
each joint, by the error that integers make in what its readers compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from sys import float_info
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np

from npuopt.graph import attribute, constant, is_op
from npuopt.quantization.arithmetic import affine, dequantize, quantize
from npuopt.quantization.channels.joint import NORMALIZATIONS, feature_axes, times_channels, times_features
from npuopt.quantization.encodings import per_tensor
from npuopt.target.channels import channel_axis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from npuopt.graph import Node
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.channels.channel_statistics import Seen
    from npuopt.quantization.channels.joint import Joint

    Array = np.ndarray

Measure: TypeAlias = Literal["largest", "mean"]

ALPHAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of a channel's range that are left to the weights, as exponents."""

LEAST_GAIN_DB = 0.2
"""A joint whose readers gain less is left as it is: what 256 positions show of it may be chance."""

FARTHEST = 64.0
"""Factors lie between this and its reciprocal, about their geometric mean: channels that calibration saw at rest would
come out of any range otherwise as soon as they move."""

MOST_CHANNELS = 512
"""Output channels of a reader on which factors are tried, spread over all."""


@dataclass(frozen=True)
class ReaderFormat:
    """How one reader of a joint is held.

    Attributes:
        activation: integer type of what it reads; None: floats.
        symmetric: whether that has zero in its middle.
        weight: returns weights as they are once they are integers, [output channels first or as the op has them].
    """

    activation: IntegerType | None
    symmetric: bool
    weight: Callable[[Node, Array], Array]


@dataclass(frozen=True)
class Smoothing:
    """Factors for a joint.

    Attributes:
        factors: one for each channel.
        alpha: the exponent they come from.
        before_db: signal to noise of what the readers compute, without factors.
        after_db: the same with them.
    """

    factors: Array
    alpha: float
    before_db: float
    after_db: float


def smoothing(
    joint: Joint,
    seen: Sequence[Seen],
    formats: Sequence[ReaderFormat],
    *,
    measure: Measure = "largest",
    alphas: Sequence[float] = ALPHAS,
    scale: IntegerType | None = None,
) -> Smoothing | None:
    """Return the best factors among those that the exponents give, or None where none gains enough.

    Args:
        joint: the channels.
        seen: what each reader saw, in the readers' order.
        formats: how each reader is held.
        measure: what stands for the size of a channel's numbers.
        alphas: exponents to try.
        scale: integer type in which a normalization's scale is held, one scale for all; None: not so.
    """
    trial = _Trial(joint, seen, formats, scale)
    ones = np.ones(joint.count)
    before = trial.noise(ones)
    best, noise, exponent = ones, before, 0.0
    for alpha in alphas:
        factors = trial.factors(alpha, measure)
        found = trial.noise(factors)
        if found < noise:
            best, noise, exponent = factors, found, alpha
    before_db, after_db = (-10 * log10(max(found, float_info.min)) for found in (before, noise))
    return Smoothing(best, exponent, before_db, after_db) if after_db >= before_db + LEAST_GAIN_DB else None


class _Trial:
    """Tries factors on one joint."""

    def __init__(
        self, joint: Joint, seen: Sequence[Seen], formats: Sequence[ReaderFormat], scale: IntegerType | None
    ) -> None:
        self._joint = joint
        self._seen = seen
        self._formats = formats
        self._scale: IntegerType | None = scale
        self._weights = [_some_channels(reader.node) for reader in joint.readers]
        self._results = [
            product(reader.node, shown.rows, weight)
            for reader, shown, weight in zip(joint.readers, seen, self._weights, strict=True)
        ]

    def factors(self, alpha: float, measure: Measure) -> Array:
        """Return size of activations ^ alpha, over size of weights ^ (1 - alpha) for ranges; geometric mean 1."""
        activations, weights = np.zeros(self._joint.count), np.zeros(self._joint.count)
        for reader, shown, weight in zip(self._joint.readers, self._seen, self._weights, strict=True):
            size = shown.size if measure == "mean" else np.maximum(-shown.low, shown.high)
            np.maximum.at(activations, reader.channels, size)
            np.maximum.at(weights, reader.channels, feature_sizes(reader.node, weight))
        size = lifted(activations) ** alpha
        return centred(size if measure == "mean" else size / lifted(weights) ** (1 - alpha))

    def noise(self, factors: Array) -> float:
        """Return the error of what the readers compute, as a share of its size, all readers together."""
        total = 0.0
        for reader, shown, held, weight, result in zip(
            self._joint.readers, self._seen, self._formats, self._weights, self._results, strict=True
        ):
            own = factors[reader.channels]
            rows = self._through_maker(shown.rows / own, reader.channels, factors)
            rows = _held_rows(rows, held, float((shown.low / own).min()), float((shown.high / own).max()))
            rounded = held.weight(reader.node, times_features(reader.node, weight, own))
            error = product(reader.node, rows, rounded) - result
            total += float(np.vdot(error, error)) / max(float(np.vdot(result, result)), float_info.min)
        return total

    def _through_maker(self, rows: Array, channels: Array, factors: Array) -> Array:
        """Return what the readers see once the scale of the normalization ahead of them is rounded, too."""
        maker = self._joint.maker
        if self._scale is None or not is_op(maker, *NORMALIZATIONS) or len(maker.inputs) > 2:
            return rows
        array = times_channels(maker, cast("Array", constant(maker.inputs[1])).astype(np.float64), 1 / factors)
        encoding = per_tensor(self._scale, *affine(float(array.min()), float(array.max()), self._scale))
        held = dequantize(quantize(array, encoding), encoding)
        ratio = np.divide(held, array, out=np.ones_like(array), where=array != 0)
        return rows * ratio[channels]


def _held_rows(rows: Array, held: ReaderFormat, low: float, high: float) -> Array:
    """Return what a reader sees of activations that range from `low` to `high`."""
    if held.activation is None:
        return rows
    encoding = per_tensor(held.activation, *affine(low, high, held.activation, symmetric=held.symmetric))
    return dequantize(quantize(rows, encoding), encoding)


def product(node: Node, rows: Array, weight: Array) -> Array:
    """Return what each tap of a linear layer makes of positions, [positions, output channels x taps].

    A convolution's result is the sum of its taps' results, and its error the sum of their errors.

    Args:
        node: MatMul, Gemm or Conv.
        rows: [positions, input features].
        weight: as the op has it.
    """
    axis, is_grouped = feature_axes(node)
    if not is_grouped:
        by_feature = np.moveaxis(weight, axis, 0)
        return rows.astype(np.float32) @ by_feature.reshape(len(by_feature), -1).astype(np.float32)
    groups = attribute(node, "group", 1)
    split = rows.reshape(len(rows), groups, -1)
    filters = weight.reshape(groups, -1, weight.shape[1], int(np.prod(weight.shape[2:])))
    return np.einsum("pgi,goit->pgot", split, filters, optimize=True).reshape(len(rows), -1)


def feature_sizes(node: Node, weight: Array) -> Array:
    """Return the greatest magnitude of the weights that each input feature of a linear layer meets."""
    axis, is_grouped = feature_axes(node)
    if not is_grouped:
        by_feature = np.moveaxis(weight, axis, 0)
        return np.abs(by_feature.reshape(len(by_feature), -1)).max(axis=1)
    groups = attribute(node, "group", 1)
    filters = weight.reshape(groups, -1, weight.shape[1], int(np.prod(weight.shape[2:])))
    return np.abs(filters).max(axis=(1, 3)).reshape(-1)


def centred(factors: Array) -> Array:
    """Return factors with a geometric mean of 1, none of them farther from it than `FARTHEST`."""
    around = factors / np.exp(np.log(factors).mean())
    return np.clip(around, 1 / FARTHEST, FARTHEST)


def lifted(sizes: Array) -> Array:
    """Return sizes without zeros: a channel at rest counts as one that hardly moves."""
    top = float(sizes.max(initial=0.0))
    return np.maximum(sizes, 1e-6 * top) if top > 0 else np.ones_like(sizes)


def _some_channels(node: Node) -> Array:
    """Return a layer's weight with at most `MOST_CHANNELS` of its output channels, in float32."""
    weight = cast("Array", constant(node.inputs[1]))
    axis = channel_axis(node, 1) or 0
    count = weight.shape[axis]
    if count > MOST_CHANNELS and not feature_axes(node)[1]:
        weight = np.take(weight, np.arange(MOST_CHANNELS) * count // MOST_CHANNELS, axis=axis)
    return weight.astype(np.float32)
