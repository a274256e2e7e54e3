"""The step that shares the ranges of channels between the operands of products."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from npuopt.graph import input_at, is_constant, is_op, static_shape
from npuopt.quantization.assignment.weights import WeightFormat
from npuopt.quantization.assignment.wishes import wishes_of
from npuopt.quantization.channels.joints import joints, obstacle
from npuopt.quantization.channels.linking import links
from npuopt.quantization.channels.mixing import Layer, Operand, evened, movable
from npuopt.quantization.channels.operand_statistics import spreads
from npuopt.quantization.channels.operands import Format, balanced
from npuopt.quantization.steps.contract import FloatStep, Rewrite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from npuopt.graph import Node, Value
    from npuopt.quantization.assignment.wishes import Wishes
    from npuopt.quantization.channels.joint import Joint, Product
    from npuopt.quantization.channels.linking import Link
    from npuopt.quantization.channels.operand_statistics import Spread
    from npuopt.quantization.steps.contract import Work

    Wanted = dict[Value, tuple[np.ndarray, int]]

WHOLE = np.zeros((1, 1), np.int64)
"""All elements of a tensor as one channel."""


class EqualizeProducts(FloatStep):
    """Share the ranges of channels between the operands of products, where one of them is held in fewer bits.

    Some chips multiply two run-time tensors of 16 bits only with the second one rounded to 8: the keys and values of
    attention. Keys get channels of equal range by factors that queries take back, values by factors that the output
    projection takes back; how far is chosen by the noise that is to be expected. Products in which both operands have
    the same bits are left alone, and so are caches, which leave the graph. Measured on MiniLM at a16w8: cosine of
    embeddings 0.99952 instead of 0.99929 (200 sentences), with some room in the 8 bits for what was not seen.

    Source of the idea for activations and weights: Xiao et al., "SmoothQuant", ICML 2023.
    """

    name: ClassVar[str] = "equalize-products"

    def rewrites(self, work: Work) -> Iterator[Rewrite]:
        """Choose factors for all products of two run-time tensors of different bits."""
        if work.samples is None or work.target.scheme(work.scheme).is_weight_only:
            return
        wishes = wishes_of(work.model, work.target, work.scheme, work.precisions)
        found = joints(work.model)
        fixed = [joint for joint in found if obstacle(joint) or not _holds_factors(wishes.get(joint.maker))]
        linked = [link for link in links(found, fixed) if all(_is_uneven(one[1].node, wishes) for one, _ in link.sides)]
        mixed = [joint for joint in found if joint not in fixed and _lets_pass(joint, wishes)]
        wanted: Wanted = {}
        for link in linked:
            for joint, product in (side for sides in link.sides for side in sides):
                wanted[_operand(product)] = product.channels, joint.count
        for joint in mixed:
            wanted |= _wanted_of(joint)
        progress = work.progress("equalizing products")
        seen = spreads(work.model, wanted, work.samples, progress=progress, threads=work.threads) if wanted else {}
        scales: dict[str, np.ndarray] = {}
        for link in linked:
            scales |= _balanced(link, seen, wishes)
        for joint in mixed:
            factors = evened(joint, _mixed(joint.mixtures[0], seen, wishes), _layers(joint, seen, wishes))
            if factors is not None:
                scales[joint.name] = scales.get(joint.name, np.ones(joint.count)) * factors
        if scales:
            listed = {name: factors.tolist() for name, factors in scales.items()}
            yield Rewrite(pass_name="move-channel-scales", options={"scales": listed, "evens": True})  # noqa: S106 -- no password


def _is_uneven(node: Node, wishes: Mapping[Node, Wishes]) -> bool:
    """Say whether a product's operands are held in types of different bits."""
    return node in wishes and wishes[node].operand(0) != wishes[node].operand(1)


def _holds_factors(wish: Wishes | None) -> bool:
    """Say whether a maker's weights lose nothing by factors: one scale for each channel, or floats."""
    return wish is None or 1 not in wish.rule.weights or WeightFormat.of(wish).by_channel


def _lets_pass(joint: Joint, wishes: Mapping[Node, Wishes]) -> bool:
    """Say whether the joint's channels pass one uneven product, as its narrower side, to layers held as integers."""
    if len(joint.mixtures) != 1 or not joint.readers or not movable(joint).any():
        return False
    mixture = joint.mixtures[0]
    if is_constant(input_at(mixture.node, 1 - mixture.index)) or not _is_uneven(mixture.node, wishes):
        return False
    return all(reader.node in wishes and not is_op(reader.node, "Conv") for reader in joint.readers)


def _operand(product: Product, *, other: bool = False) -> Value:
    return cast("Value", product.node.inputs[1 - product.index if other else product.index])


def _read(node: Node) -> Value:
    return cast("Value", node.inputs[0])


def _features(count: int) -> np.ndarray:
    return np.arange(count)


def _wanted_of(joint: Joint) -> Wanted:
    mixture = joint.mixtures[0]
    wanted: Wanted = {_operand(mixture): (mixture.channels, joint.count), _operand(mixture, other=True): (WHOLE, 1)}
    for reader in joint.readers:
        wanted[_read(reader.node)] = _features(len(reader.channels)), len(reader.channels)
    return wanted


def _format(wish: Wishes, index: int) -> Format:
    return Format(wish.operand(index), wish.scheme.activation_symmetric)


def _balanced(link: Link, seen: Mapping[Value, Spread], wishes: Mapping[Node, Wishes]) -> dict[str, np.ndarray]:
    products = [product for sides in link.sides for _, product in sides]
    return balanced(
        link,
        {(product.node, product.index): seen[_operand(product)] for product in products},
        {(product.node, product.index): _format(wishes[product.node], product.index) for product in products},
    )


def _mixed(mixture: Product, seen: Mapping[Value, Spread], wishes: Mapping[Node, Wishes]) -> Operand:
    shape = static_shape(_operand(mixture)) or (1, 1)
    summed = shape[-2] if mixture.index == 1 else shape[-1]
    gain = summed * float(seen[_operand(mixture, other=True)].power[0])
    return Operand(_format(wishes[mixture.node], mixture.index), seen[_operand(mixture)], gain)


def _layers(joint: Joint, seen: Mapping[Value, Spread], wishes: Mapping[Node, Wishes]) -> list[Layer]:
    layers: list[Layer] = []
    for reader in joint.readers:
        wish = wishes[reader.node]
        held = WeightFormat.of(wish)
        found = seen[_read(reader.node)]
        layers.append(
            Layer(reader.node, reader.channels, _format(wish, 0), found, held.dtype, by_channel=held.by_channel)
        )
    return layers
