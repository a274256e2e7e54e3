"""Steps that choose how the range of a channel is shared between what makes it and what reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from npuopt.graph import is_constant, is_op
from npuopt.quantization.arithmetic import SIXTEEN_BITS, dequantize, quantize
from npuopt.quantization.assignment.weights import WeightFormat, weight_encoding
from npuopt.quantization.assignment.wishes import wishes_of
from npuopt.quantization.blocks import block_values, round_blocks
from npuopt.quantization.channels.channel_statistics import channel_statistics
from npuopt.quantization.channels.equalization import equalizing_factors
from npuopt.quantization.channels.joints import joints, refusal
from npuopt.quantization.channels.smoothing import ALPHAS, ReaderFormat, smoothing
from npuopt.quantization.rounding.weight_only import held_weights
from npuopt.quantization.steps.contract import FloatStep, Rewrite
from npuopt.target.channels import channel_axis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from npuopt.graph import Node
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.assignment.wishes import Wishes
    from npuopt.quantization.block_encodings import BlockEncoding
    from npuopt.quantization.channels.joint import Joint
    from npuopt.quantization.steps.contract import Work

MOVE = "move-channel-scales"


class SmoothActivations(FloatStep):
    """Divide channels of wide range by what the weights behind them can take, where integers then lose less.

    Source: Xiao et al., "SmoothQuant", ICML 2023; the exponent is searched for each place by the error on data, that of
    the scale of the normalization ahead included. Measured on tiny_llama's prefill, perplexity against float: a8w8
    +0.98 % instead of +1.57 %, a16w4 +1.18 % instead of +1.45 % (half of the validation windows).

    Left as it is: what a linear layer makes in 8 bits and data is multiplied with ahead of the readers, as in gated
    layers. The gate's range would go over to the layer's result: by themselves the readers gained 8 dB, and tiny_llama
    with its linear layers at a8w8 lost 0.36 % by it, 0.12 % without.

    Convolutions are left as they are: EfficientNet-Lite0 lost 0.15 dB by it, and the PP-OCR recognizer gained nothing.

    Attributes:
        alphas: exponents to choose from: the share of a channel's range that is left to the weights.
    """

    name: ClassVar[str] = "smooth-activations"
    alphas: tuple[float, ...] = Field(default=ALPHAS, min_length=1)

    def rewrites(self, work: Work) -> Iterator[Rewrite]:
        """Search factors for every joint whose readers are computed in integers."""
        if work.samples is None:
            return
        wishes = wishes_of(work.model, work.target, work.scheme, work.precisions)
        found = [
            joint
            for joint in joints(work.model)
            if not refusal(joint) and _is_integer(joint, wishes) and not _widens_eight_bits(joint, wishes)
        ]
        scales: dict[str, list[float]] = {}
        looked_at = channel_statistics(
            work.model, found, work.samples, progress=work.progress("smoothing activations"), threads=work.threads
        )
        for joint, seen in looked_at:
            if not all(one.tells_features_apart for one in seen):
                continue
            formats = [_format(wishes[reader.node]) for reader in joint.readers]
            chosen = smoothing(joint, seen, formats, alphas=self.alphas, scale=_scale_type(wishes.get(joint.maker)))
            if chosen is not None:
                scales[joint.name] = chosen.factors.tolist()
        if scales:
            yield Rewrite(pass_name=MOVE, options={"scales": scales})


class ScaleWeights(FloatStep):
    """Multiply the weights that large activations meet, where weights alone are held as integers (AWQ).

    Source: Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", MLSys 2024,
    section 3.2; what ahead of the layer makes the activations is divided. The exponent is searched for each place by
    the error on data. Not standard: on tiny_llama, whose channels are much alike, it changes 0.1 % of perplexity either
    way (blocks of 32: +2.59 % instead of +2.46 %; channels: +4.54 % instead of +4.55 %).

    Attributes:
        alphas: exponents of the mean magnitude of a channel to choose from.
    """

    name: ClassVar[str] = "scale-weights"
    alphas: tuple[float, ...] = Field(default=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), min_length=1)

    def rewrites(self, work: Work) -> Iterator[Rewrite]:
        """Search factors for every joint of which all readers hold their weights as integers."""
        if work.samples is None or not work.target.scheme(work.scheme).is_weight_only:
            return
        blocks = held_weights(work.model, work.target, work.scheme, work.precisions).blocks
        found = [
            joint
            for joint in joints(work.model)
            if not refusal(joint) and all(_weight(reader.node) in blocks for reader in joint.readers)
        ]
        looked_at = channel_statistics(
            work.model, found, work.samples, progress=work.progress("scaling weights"), threads=work.threads
        )
        scales: dict[str, list[float]] = {}
        for joint, seen in looked_at:
            formats = [_block_format(blocks[_weight(reader.node)]) for reader in joint.readers]
            chosen = smoothing(joint, seen, formats, measure="mean", alphas=self.alphas)
            if chosen is not None:
                scales[joint.name] = chosen.factors.tolist()
        if scales:
            yield Rewrite(pass_name=MOVE, options={"scales": scales})


class EqualizeLayers(FloatStep):
    """Give the channels between two linear layers equal ranges in the weights on both sides.

    Source: Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", ICCV 2019, section
    4.1. It needs no data, and counts where weights have one scale for all channels; with a scale for each channel only
    activations change. Run ahead of smoothing, which then starts from here.

    Attributes:
        rounds: how often to go over the model: what one pair needs changes what its neighbours need.
    """

    name: ClassVar[str] = "equalize-layers"
    rounds: int = Field(default=3, ge=1, le=100)

    def rewrites(self, work: Work) -> Iterator[Rewrite]:
        """Equalize every pair of linear layers with nothing but what lets factors pass between them."""
        found = [joint for joint in joints(work.model) if joint.is_linear and not refusal(joint)]
        scales = equalizing_factors(found, self.rounds)
        if scales:
            yield Rewrite(pass_name=MOVE, options={"scales": scales})


def _is_integer(joint: Joint, wishes: Mapping[Node, Wishes]) -> bool:
    return all(reader.node in wishes and not is_op(reader.node, "Conv") for reader in joint.readers)


def _widens_eight_bits(joint: Joint, wishes: Mapping[Node, Wishes]) -> bool:
    """Say whether the maker's result has 8 bits and is multiplied with data ahead of the readers.

    What the data brings into the channels' ranges would go over to the maker's result, which has no steps to spare.
    """
    wish = wishes.get(joint.maker)
    if not joint.is_linear or wish is None or wish.activation in SIXTEEN_BITS:
        return False
    gates = [node for value in joint.values if (node := value.producer()) is not None and is_op(node, "Mul")]
    return any(not any(map(is_constant, gate.inputs)) for gate in gates)


def _format(wish: Wishes) -> ReaderFormat:
    """Return how a node that is computed in integers holds what it reads."""
    weight_format = WeightFormat.of(wish)

    def rounded(node: Node, weight: np.ndarray) -> np.ndarray:
        encoding = weight_encoding(weight, weight_format, channel_axis(node, 1))
        return dequantize(quantize(weight, encoding), encoding)

    return ReaderFormat(wish.operand(0), wish.scheme.activation_symmetric, rounded)


def _weight(node: Node) -> str:
    return (node.inputs[1].name if node.inputs[1] is not None else "") or ""


def _block_format(held: BlockEncoding) -> ReaderFormat:
    """Return how a node reads weights that are held beside float activations."""

    def rounded(node: Node, weight: np.ndarray) -> np.ndarray:
        del node
        values = block_values(round_blocks(held.rows(weight), held.format), held.format)
        return held.like_weight(values, weight.shape)

    return ReaderFormat(None, symmetric=False, weight=rounded)


def _scale_type(wish: Wishes | None) -> IntegerType | None:
    """Return the type of a normalization's scale where it is held with one scale for all; None elsewhere."""
    if wish is None or 1 not in wish.rule.weights:
        return None
    held = WeightFormat.of(wish)
    return None if held.is_signed else held.dtype
