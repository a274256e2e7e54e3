"""Which input channels of linear layers hold the weights that widen everybody's steps, and what splitting them saves.

Source: Zhao et al., "Improving Neural Network Quantization without Retraining using Outlier Channel Splitting", ICML
2019, section 3.2; here a channel is worth what the steps of all output channels gain, each with a scale of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, input_at, is_constant, is_op, rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Node


def refusal(node: Node) -> str | None:
    """Say why a layer's input channels cannot be split; empty when they can, None when it has none."""
    if not is_op(node, "Conv", "Gemm", "MatMul") or not is_constant(input_at(node, 1)):
        return None
    weight = input_at(node, 1)
    if weight is None or is_constant(input_at(node, 0)):
        return None
    if is_op(node, "MatMul") and rank(weight) != 2:
        return "its weights have more than two axes"
    if is_op(node, "Gemm") and attribute(node, "transA", 0):
        return "it reads its features along the first axis"
    if is_op(node, "Conv") and attribute(node, "group", 1) > 1:
        return "its channels are in groups"
    return f"{weight.name} is read elsewhere too" if len(weight.uses()) > 1 else ""


def data_axis(node: Node) -> int:
    """Return the axis, from the front, along which a layer's input has its channels."""
    return 1 if is_op(node, "Conv") else (rank(input_at(node, 0)) or 1) - 1


def weight_axis(node: Node) -> int:
    """Return the axis along which a layer's weight has them."""
    return 1 if is_op(node, "Conv") or (is_op(node, "Gemm") and attribute(node, "transB", 0)) else 0


def split_weight(weight: np.ndarray, axis: int, channels: Sequence[int]) -> np.ndarray:
    """Return the weight with a copy of each channel at its end, the channel and its copies an equal share each."""
    count: int = weight.shape[axis]
    index = np.append(np.arange(count), np.asarray(channels, np.int64))
    shares = np.bincount(index, minlength=count)[index]
    shape = [-1 if other == axis else 1 for other in range(weight.ndim)]
    return (np.take(weight, index, axis=axis) / shares.reshape(shape)).astype(weight.dtype)


def outlier_channels(nodes: Sequence[Node], most: int) -> list[int]:
    """Return at most `most` channels whose splitting makes the layers' weights finer, the best first.

    Args:
        nodes: layers that read one tensor.
        most: how many copies may be made; a channel may be chosen again.
    """
    sizes = np.concatenate([_sizes(node) for node in nodes], axis=1)
    copies = np.ones(len(sizes))
    chosen: list[int] = []
    if len(sizes) < 2:
        return chosen
    for _ in range(most):
        shared = sizes / copies[:, None]
        top = shared.argmax(axis=0)
        first, second = -np.partition(-shared, 1, axis=0)[:2]
        after = np.maximum(second, first * (copies[top] / (copies[top] + 1)))
        gains = np.bincount(top, weights=first**2 - after**2, minlength=len(sizes))
        best = int(gains.argmax())
        if gains[best] <= 0:
            break
        copies[best] += 1
        chosen.append(best)
    return chosen


def _sizes(node: Node) -> np.ndarray:
    """Return magnitudes of a layer's weights, [input channels, output channels], the greatest of a filter's taps."""
    weight = np.abs(np.asarray(constant(node.inputs[1]), np.float32))
    by_feature = np.moveaxis(weight, weight_axis(node), 0)
    return by_feature.reshape(*by_feature.shape[:2], -1).max(axis=2)
