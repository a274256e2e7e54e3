"""What a joint is: channels between what makes them and what reads them, and what factors do to the weights there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, is_op
from npuopt.target.channels import channel_axis

if TYPE_CHECKING:
    from npuopt.graph import Node, Value

NORMALIZATIONS = ("LayerNormalization", "RMSNormalization")
LINEAR = ("Conv", "Gemm", "MatMul")

EVENED = "npuopt.evened_channels"
"""Annotation of tensors whose channels were given one range."""


@dataclass(frozen=True)
class Reader:
    """A linear layer that reads the channels.

    Attributes:
        node: MatMul, Gemm or Conv, with constant weights at input 1.
        channels: of each input feature of the layer (MatMul, Gemm) or input channel (Conv), the channel it holds.
    """

    node: Node
    channels: np.ndarray


@dataclass(frozen=True)
class Shift:
    """A constant that is added on the way, and is divided with what it is added to.

    Attributes:
        node: Add or Sub.
        index: which of its inputs is the constant.
        channels: the channel of each of its elements.
    """

    node: Node
    index: int
    channels: np.ndarray


@dataclass(frozen=True)
class Product:
    """A product of two run-time tensors that has to do with the channels.

    Attributes:
        node: MatMul.
        index: which of its inputs holds the channels.
        channels: the channel of each element of that input, with a size of 1 along the axis that is not summed over
            (or that is, where the channels stay apart) if they do not vary along it.
    """

    node: Node
    index: int
    channels: np.ndarray


@dataclass
class Joint:
    """Channels between the node that makes them and all that reads them.

    Attributes:
        maker: the normalization or linear layer.
        count: how many channels there are.
        readers: the linear layers at the end of each way.
        products: products that sum over the channels; factors cancel if the other operand takes their reciprocals.
        mixtures: products on the way, which sum over something else.
        ties: pairs of channels that are added to one another, and so need the same factor, [pairs, 2].
        shifts: constants that are added on the way.
        values: the tensors on the way, the maker's output first.
        why: what stops a way short of a linear layer; empty when nothing does.
    """

    maker: Node
    count: int = 0
    readers: list[Reader] = field(default_factory=list[Reader])
    products: list[Product] = field(default_factory=list[Product])
    mixtures: list[Product] = field(default_factory=list[Product])
    ties: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    shifts: list[Shift] = field(default_factory=list[Shift])
    values: list[Value] = field(default_factory=list["Value"])
    why: str = ""

    @property
    def name(self) -> str:
        """The name of what the maker makes."""
        return self.maker.outputs[0].name or ""

    @property
    def is_linear(self) -> bool:
        """Say whether a linear layer makes the channels, and no normalization."""
        return is_op(self.maker, *LINEAR)


def feature_axes(node: Node) -> tuple[int, bool]:
    """Return the axis of a linear layer's weight along which it reads features, and whether groups split them."""
    if is_op(node, "Conv"):
        return 1, attribute(node, "group", 1) > 1
    return (1, False) if is_op(node, "Gemm") and attribute(node, "transB", 0) else (0, False)


def times_features(node: Node, weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return a linear layer's weight times one factor for each feature that it reads."""
    axis, is_grouped = feature_axes(node)
    if not is_grouped:
        return weight * factors.reshape([-1 if index == axis else 1 for index in range(weight.ndim)])
    groups = attribute(node, "group", 1)
    by_group = weight.reshape(groups, -1, *weight.shape[1:])
    spread = factors.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
    return (by_group * spread).reshape(weight.shape)


def times_channels(node: Node, weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return a maker's weight times one factor for each channel that it makes."""
    axis = 0 if is_op(node, *NORMALIZATIONS) else channel_axis(node, 1) or 0
    return weight * factors.reshape([-1 if index == axis else 1 for index in range(weight.ndim)])
