"""Where a factor for each channel can move from what makes the channels into what reads them, exactly.

What a normalization or a linear layer makes may be divided by one positive factor for each channel, if all that reads
it multiplies by the same factors: `W2 (W1 x) = (W2 S) (S^-1 W1 x)`. Ops in between have to let factors pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, input_at, is_constant, is_op, label, rank, static_shape
from npuopt.target.channels import channel_axis

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value

NORMALIZATIONS = ("LayerNormalization", "RMSNormalization")
LINEAR = ("Conv", "Gemm", "MatMul")

HOMOGENEOUS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LeakyRelu", "MaxPool", "Neg", "PRelu", "Relu")
"""Ops that let a positive factor of each channel pass, as f(s x) = s f(x)."""

POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")

SHAPING = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")

MOST_ELEMENTS = 2**24
"""Tensors with more are not followed: each element's channel is written down on the way."""


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


@dataclass
class Joint:
    """Channels between the node that makes them and all that reads them.

    Attributes:
        maker: the normalization or linear layer.
        count: how many channels there are.
        readers: the linear layers at the end of each way.
        shifts: constants that are added on the way.
        values: the tensors on the way, the maker's output first.
        why: what stops a way short of a linear layer; empty when nothing does.
    """

    maker: Node
    count: int = 0
    readers: list[Reader] = field(default_factory=list[Reader])
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


def joints(model: Model) -> list[Joint]:
    """List the joints of the main graph in graph order, those among them that cannot be used with what is in the way.

    A node whose channels no linear layer reads is none.
    """
    found = [joint_at(node, model) for node in model.graph if is_op(node, *NORMALIZATIONS, *LINEAR)]
    return [joint for joint in found if joint is not None]


def joint_at(node: Node, model: Model) -> Joint | None:
    """Return the joint behind `node`, or None where it makes no channels by constants or no linear layer reads them."""
    axis = _made_along(node)
    shape = static_shape(node.outputs[0])
    if axis is None or shape is None or not shape or int(np.prod(shape)) > MOST_ELEMENTS:
        return None
    joint = Joint(node, shape[axis])
    by_axis = np.arange(shape[axis]).reshape([-1 if index == axis else 1 for index in range(len(shape))])
    _Walk(joint, model).follow(node.outputs[0], np.broadcast_to(by_axis, shape))
    return joint if joint.readers else None


def refusal(joint: Joint) -> str:
    """Say why the joint's factors cannot move; an empty string when they can."""
    if joint.why:
        return joint.why
    weights = [(reader.node, 1) for reader in joint.readers]
    if joint.is_linear:
        weights.append((joint.maker, 1))
    for node, index in weights:
        weight = input_at(node, index)
        if weight is not None and len(weight.uses()) > 1:
            return f"{weight.name} is read elsewhere too"
    return ""


def _made_along(node: Node) -> int | None:
    """Return the axis of its output along which `node` makes channels by constants of their own."""
    weight = input_at(node, 1)
    if weight is None or not is_constant(weight) or (len(node.inputs) > 2 and not _is_constant_or_absent(node, 2)):
        return None
    output_rank = rank(node.outputs[0]) or 0
    if is_op(node, *NORMALIZATIONS):
        is_last = attribute(node, "axis", -1) in (-1, output_rank - 1) and rank(weight) == 1
        return output_rank - 1 if is_last and len(node.outputs) == 1 else None
    if is_op(node, "Conv"):
        return 1
    return output_rank - 1 if channel_axis(node, 1) is not None else None


def _is_constant_or_absent(node: Node, index: int) -> bool:
    value = input_at(node, index)
    return value is None or is_constant(value)


class _Walk:
    """Follows channels from the maker to every reader."""

    def __init__(self, joint: Joint, model: Model) -> None:
        self._joint = joint
        self._graph = model.graph
        self._seen: set[Value] = set()

    def follow(self, start: Value, channels: np.ndarray) -> None:
        """Walk on from `start`, whose elements hold `channels`, until linear layers or what stops the walk."""
        pending = [(start, channels)]
        while pending:
            value, held = pending.pop()
            self._joint.values.append(value)
            self._seen.add(value)
            if value.is_graph_output():
                self._stop(f"{value.name} is a graph output")
            for use in value.uses():
                beyond = self._pass(use.node, use.idx, held)
                if beyond is not None:
                    pending.append((use.node.outputs[0], beyond))
            if self._joint.why and self._joint.readers:
                return

    def _stop(self, why: str) -> None:
        self._joint.why = self._joint.why or why

    def _pass(self, node: Node, index: int, channels: np.ndarray) -> np.ndarray | None:
        """Return the channels of the node's output; None where the way ends here, one way or the other."""
        if node.graph is not self._graph:
            self._stop(f"{label(node)} reads them in a subgraph")
            return None
        if is_op(node, *LINEAR) and index == 0 and is_constant(input_at(node, 1)):
            read = _features(node, channels)
            if read is None:
                self._stop(f"{label(node)} ({node.op_type}) does not read them as its features")
            else:
                self._joint.readers.append(Reader(node, read))
            return None
        output = node.outputs[0]
        shape = static_shape(output)
        others = [value for other, value in enumerate(node.inputs) if other != index and value is not None]
        beyond = None
        if shape is not None and int(np.prod(shape)) <= MOST_ELEMENTS and not self._seen.intersection(others):
            beyond = self._carried(node, index, channels, shape)
        if beyond is None or output in self._seen:
            self._stop(f"{label(node)} ({node.op_type}) does not let factors of channels pass")
            return None
        return beyond

    def _carried(self, node: Node, index: int, channels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        if index == 0 and is_op(node, *SHAPING):
            return channels.reshape(shape)
        if index == 0 and is_op(node, "Transpose"):
            order = node.attributes.get("perm")
            return channels.transpose(None if order is None else list(order.as_ints()))
        if index == 0 and is_op(node, *POOLS):
            return None if len(node.outputs) > 1 else _along(channels, 1, shape)
        if index == 0 and is_op(node, *HOMOGENEOUS):
            return np.broadcast_to(channels, shape)
        if is_op(node, "Mul") or (is_op(node, "Div") and index == 0):
            return np.broadcast_to(channels, shape)
        if is_op(node, "Add", "Sub"):
            return self._shifted(node, index, channels, shape)
        if is_op(node, "MatMul"):
            return _summed(channels, -1 if index == 0 else -2, shape)
        return None

    def _shifted(self, node: Node, index: int, channels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        other = node.inputs[1 - index]
        within = static_shape(other)
        if not is_constant(other) or within is None:
            return None
        full = np.broadcast_to(channels, shape)
        sizes = (1,) * (len(shape) - len(within)) + within
        own = full[tuple(slice(0, 1) if size == 1 else slice(None) for size in sizes)]
        if (own != full).any():
            return None  # one number is added to several channels
        self._joint.shifts.append(Shift(node, 1 - index, own.reshape(within)))
        return full


def _along(channels: np.ndarray, axis: int, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return channels that vary along `axis` only, for another shape; None where they vary along others too."""
    first = channels[tuple(slice(None) if index == axis else slice(0, 1) for index in range(channels.ndim))]
    return np.broadcast_to(first, shape) if (first == channels).all() else None


def _summed(channels: np.ndarray, axis: int, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the channels of a product in which elements of one channel each are summed along `axis`."""
    if channels.ndim < 2:
        return None
    first = np.take(channels, [0], axis=axis)
    return np.broadcast_to(first, shape) if (first == channels).all() else None


def _features(node: Node, channels: np.ndarray) -> np.ndarray | None:
    """Return the channel of each of the layer's input features, or None where one feature holds several."""
    weight = input_at(node, 1)
    if is_op(node, "Conv"):
        axis = 1
    elif (is_op(node, "MatMul") and rank(weight) == 2) or (is_op(node, "Gemm") and not attribute(node, "transA", 0)):
        axis = channels.ndim - 1
    else:
        return None
    single = tuple(slice(None) if index == axis else 0 for index in range(channels.ndim))
    line = channels[single]
    shape = tuple(-1 if index == axis else 1 for index in range(channels.ndim))
    return line if (line.reshape(shape) == channels).all() else None


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
