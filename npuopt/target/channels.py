"""Along which axis an op's weights have output channels: what the ONNX operator definitions say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, is_op, rank

if TYPE_CHECKING:
    from npuopt.graph import Node


def channel_axis(node: Node, index: int) -> int | None:
    """Return the axis of the weight at `index` that makes the output's channels, or None where there is no such axis.

    Conv has its output channels first, ConvTranspose second (within each group, so that with several groups a channel
    has no axis of its own), Gemm by `transB`, MatMul last.
    """
    if is_op(node, "Conv"):
        return 0
    if is_op(node, "ConvTranspose"):
        return 1 if attribute(node, "group", 1) == 1 else None
    if is_op(node, "Gemm") and index == 1:
        return 0 if attribute(node, "transB", 0) else 1
    if is_op(node, "MatMul") and index == 1 and rank(input_at(node, index)) == 2:
        return 1
    return None
