"""Follows channels through a graph, from what makes them to all that takes factors of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.graph import attribute, constant, input_at, is_constant, is_op, label, rank, static_shape
from npuopt.quantization.channels.joint import LINEAR, Product, Reader, Shift

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.channels.joint import Joint

HOMOGENEOUS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LeakyRelu", "MaxPool", "Neg", "PRelu", "Relu")
"""Ops that let a positive factor of each channel pass, as f(s x) = s f(x)."""

POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")

SHAPING = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")

MOST_ELEMENTS = 2**24
"""Tensors with more are not followed: each element's channel is written down on the way."""


class Walk:
    """Follows channels from the maker to every reader."""

    def __init__(self, joint: Joint, model: Model) -> None:
        self._joint = joint
        self._graph = model.graph
        self._held: dict[Value, np.ndarray] = {}
        self._waiting: set[Node] = set()

    def follow(self, start: Value, channels: np.ndarray) -> None:
        """Walk on from `start`, whose elements hold `channels`, until linear layers or what stops the walk."""
        pending = [(start, channels)]
        while pending:
            value, held = pending.pop()
            self._joint.values.append(value)
            self._held[value] = held
            if value.is_graph_output():
                self._stop(f"{value.name} is a graph output")
            for use in value.uses():
                for made, beyond in self._pass(use.node, use.idx, held):
                    if made in self._held or any(made is other for other, _ in pending):
                        self._stop_at(use.node)
                    else:
                        pending.append((made, beyond))
            if self._joint.why and (self._joint.readers or self._joint.products):
                return
        for node in self._waiting:
            self._stop_at(node)

    def _stop(self, why: str) -> None:
        self._joint.why = self._joint.why or why

    def _stop_at(self, node: Node) -> None:
        self._stop(f"{label(node)} ({node.op_type}) does not let factors of channels pass")

    def _pass(self, node: Node, index: int, channels: np.ndarray) -> list[tuple[Value, np.ndarray]]:
        """Return the node's outputs with their channels; none where the way ends here, one way or the other."""
        if node.graph is not self._graph:
            self._stop(f"{label(node)} reads them in a subgraph")
            return []
        if is_op(node, *LINEAR) and index == 0 and is_constant(input_at(node, 1)):
            read = _features(node, channels)
            if read is None:
                self._stop(f"{label(node)} ({node.op_type}) does not read them as its features")
            else:
                self._joint.readers.append(Reader(node, read))
            return []
        shapes = [static_shape(output) for output in node.outputs]
        if any(shape is None or int(np.prod(shape)) > MOST_ELEMENTS for shape in shapes):
            self._stop_at(node)
            return []
        known = cast("list[tuple[int, ...]]", shapes)
        if is_op(node, "Split") and index == 0:
            return list(zip(node.outputs, _parts(node, channels, known), strict=True))
        if self._sums_over(node, index, channels):
            self._joint.products.append(_product(node, index, channels))
            return []
        if is_op(node, "Add", "Sub", "Concat") and self._others(node, index):
            joined = self._joined(node, known[0])
            return [] if joined is None else [(node.outputs[0], joined)]
        beyond = None
        if not any(value in self._held for value in self._others(node, index)):
            beyond = self._carried(node, index, channels, known[0])
        if beyond is None:
            self._stop_at(node)
            return []
        return [(node.outputs[0], beyond)]

    def _others(self, node: Node, index: int) -> list[Value]:
        """List what else the node reads at run time."""
        inputs = [value for other, value in enumerate(node.inputs) if other != index]
        return [value for value in inputs if value is not None and not is_constant(value)]

    def _sums_over(self, node: Node, index: int, channels: np.ndarray) -> bool:
        """Say whether the node is a product of two run-time tensors that sums over different channels."""
        if not is_op(node, "MatMul") or channels.ndim < 2 or is_constant(input_at(node, 1 - index)):
            return False
        axis = -1 if index == 0 else -2
        return (
            bool((np.take(channels, [0], axis=axis) != channels).any()) and (rank(input_at(node, 1 - index)) or 0) > 1
        )

    def _joined(self, node: Node, shape: tuple[int, ...]) -> np.ndarray | None:
        """Return the channels of a sum or row of tensors that all hold them, once the walk has come by each.

        Channels that are added to one another are tied.
        """
        self._waiting.add(node)
        parts = [self._held.get(value) if value is not None else None for value in node.inputs]
        if any(part is None for part in parts):
            return None
        self._waiting.discard(node)
        held = cast("list[np.ndarray]", parts)
        if is_op(node, "Concat"):
            return np.concatenate(held, axis=attribute(node, "axis", 0))
        first, second = (np.broadcast_to(part, shape) for part in held)
        self._tie(first, second)
        return first

    def _tie(self, first: np.ndarray, second: np.ndarray) -> None:
        differ = first != second
        pairs = np.stack([first[differ], second[differ]], axis=-1)
        self._joint.ties = np.unique(np.concatenate([self._joint.ties, np.sort(pairs, axis=-1)]), axis=0)

    def _carried(self, node: Node, index: int, channels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        if is_op(node, "Mul") or (is_op(node, "Div") and index == 0):
            return np.broadcast_to(channels, shape)
        if is_op(node, "Add", "Sub"):
            return self._shifted(node, index, channels, shape)
        if is_op(node, "MatMul"):
            mixed = _summed(channels, -1 if index == 0 else -2, shape)
            if mixed is not None:
                self._joint.mixtures.append(_product(node, index, channels))
            return mixed
        if is_op(node, "RotaryEmbedding") and index == 0:
            turned = _turned(node, channels)
            if turned is not None:
                self._tie(*turned)
            return None if turned is None else channels
        return None if index else _moved(node, channels, shape)

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


def _moved(node: Node, channels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the channels of what an op makes of its first input alone, or None where factors do not pass it."""
    if is_op(node, *SHAPING):
        return channels.reshape(shape)
    if is_op(node, "Expand"):
        return np.broadcast_to(channels, shape)
    if is_op(node, "Transpose"):
        order = node.attributes.get("perm")
        return channels.transpose(None if order is None else list(order.as_ints()))
    if is_op(node, *POOLS):
        return None if len(node.outputs) > 1 else _along(channels, 1, shape)
    if is_op(node, *HOMOGENEOUS):
        return np.broadcast_to(channels, shape)
    if is_op(node, "Gather") and (indices := constant(node.inputs[1])) is not None:
        return np.take(channels, indices, axis=attribute(node, "axis", 0))
    return None


def _parts(node: Node, channels: np.ndarray, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Return the channels of each output of a Split."""
    axis = attribute(node, "axis", 0)
    return np.split(channels, np.cumsum([shape[axis] for shape in shapes])[:-1], axis=axis)


def _product(node: Node, index: int, channels: np.ndarray) -> Product:
    """Return the record of a product, without the axes of a matrix along which its channels do not vary."""
    kept = channels
    for axis in (-2, -1) if channels.ndim > 1 else ():
        first = np.take(kept, [0], axis=axis)
        kept = first if (first == kept).all() else kept
    return Product(node, index, np.ascontiguousarray(kept))


def _turned(node: Node, channels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the channels that RotaryEmbedding adds to one another: those of each pair that it turns."""
    heads = channels
    if channels.ndim == 3:
        count = attribute(node, "num_heads", 0)
        if not count:
            return None
        heads = channels.reshape(*channels.shape[:2], count, -1)
    width = attribute(node, "rotary_embedding_dim", 0) or heads.shape[-1]
    part = heads[..., :width]
    if attribute(node, "interleaved", 0):
        return part[..., 0::2], part[..., 1::2]
    return part[..., : width // 2], part[..., width // 2 :]


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
