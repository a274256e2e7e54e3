"""Ops that multiply with weights, and pools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.errors import InputError
from npuopt.graph import attribute, attribute_list, label
from npuopt.tuning.operators.inputs import filled_up
from npuopt.tuning.torch_api import functional, torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Node
    from npuopt.tuning.operators.elementwise import Operator
    from npuopt.tuning.torch_api import Tensor


def _window(node: Node, data: Tensor, size: Sequence[int], fill: float) -> tuple[Tensor, list[int], list[int]]:
    """Return the data with the op's padding around it, its strides and its dilations."""
    spatial = data.ndim - 2
    strides = attribute_list(node, "strides", [1] * spatial)
    dilations = attribute_list(node, "dilations", [1] * spatial)
    padding = attribute(node, "auto_pad", "NOTSET")
    if padding in ("SAME_UPPER", "SAME_LOWER"):
        before, after = _same(data.shape[2:], size, strides, dilations, lower=padding == "SAME_LOWER")
    else:
        pads = attribute_list(node, "pads", [0] * 2 * spatial) if padding == "NOTSET" else [0] * 2 * spatial
        before, after = pads[:spatial], pads[spatial:]
    # torch counts pads from the last axis on
    sides = [side for one in zip(reversed(before), reversed(after), strict=True) for side in one]
    return (functional.pad(data, sides, value=fill) if any(sides) else data), strides, dilations


def _same(
    shape: Sequence[int], size: Sequence[int], strides: Sequence[int], dilations: Sequence[int], *, lower: bool
) -> tuple[list[int], list[int]]:
    """Return the pads before and after that make the output as large as the input over the stride."""
    before: list[int] = []
    after: list[int] = []
    for length, taps, stride, dilation in zip(shape, size, strides, dilations, strict=True):
        total = max((-(-length // stride) - 1) * stride + (taps - 1) * dilation + 1 - length, 0)
        small, large = total // 2, total - total // 2
        before.append(large if lower else small)
        after.append(small if lower else large)
    return before, after


def _conv(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, weight, bias = filled_up(inputs, 3)
    data, strides, dilations = _window(node, data, weight.shape[2:], 0.0)
    compute = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}[data.ndim]
    return compute(data, weight, bias, stride=strides, dilation=dilations, groups=attribute(node, "group", 1))


def _conv_transpose(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, weight, bias = filled_up(inputs, 3)
    spatial: int = data.ndim - 2
    pads: list[int] = attribute_list(node, "pads", [0] * 2 * spatial)
    if attribute(node, "auto_pad", "NOTSET") != "NOTSET" or attribute_list(node, "output_shape"):
        raise InputError("ConvTranspose with an output shape cannot be tuned through", where=label(node))
    compute = {3: functional.conv_transpose1d, 4: functional.conv_transpose2d, 5: functional.conv_transpose3d}
    more = attribute_list(node, "output_padding", [0] * spatial)
    whole: Tensor = compute[data.ndim](
        data,
        weight,
        bias,
        stride=attribute_list(node, "strides", [1] * spatial),
        output_padding=more,
        groups=attribute(node, "group", 1),
        dilation=attribute_list(node, "dilations", [1] * spatial),
    )
    for axis in range(spatial):
        before, after = pads[axis], pads[spatial + axis]
        whole = whole.narrow(2 + axis, before, whole.shape[2 + axis] - before - after)
    return whole


def _gemm(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    left, right, bias = filled_up(inputs, 3)
    left = left.T if attribute(node, "transA", 0) else left
    right = right.T if attribute(node, "transB", 0) else right
    product: Tensor = attribute(node, "alpha", 1.0) * (left @ right)
    return product if bias is None else product + attribute(node, "beta", 1.0) * bias


def _einsum(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return torch.einsum(attribute(node, "equation", ""), *inputs)


def _max_pool(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    _require_plain_pool(node)
    size = attribute_list(node, "kernel_shape")
    data, strides, dilations = _window(node, inputs[0], size, float("-inf"))
    compute = {3: functional.max_pool1d, 4: functional.max_pool2d, 5: functional.max_pool3d}[data.ndim]
    return compute(data, size, stride=strides, dilation=dilations)


def _average_pool(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    _require_plain_pool(node)
    size = attribute_list(node, "kernel_shape")
    if any(step != 1 for step in attribute_list(node, "dilations")):
        raise InputError("AveragePool with dilations cannot be tuned through", where=label(node))
    compute = {3: functional.avg_pool1d, 4: functional.avg_pool2d, 5: functional.avg_pool3d}[inputs[0].ndim]
    data, strides, _ = _window(node, inputs[0], size, 0.0)
    sums = compute(data, size, stride=strides)
    if attribute(node, "count_include_pad", 0):
        return sums
    inside, _, _ = _window(node, torch.ones_like(inputs[0]), size, 0.0)
    return sums / compute(inside, size, stride=strides)


def _require_plain_pool(node: Node) -> None:
    if attribute(node, "ceil_mode", 0) or len(node.outputs) > 1:
        raise InputError(f"{node.op_type} rounded up or with indices cannot be tuned through", where=label(node))


def _global_pool(reduce_to: str) -> Operator:
    def compute(node: Node, inputs: Sequence[Tensor]) -> Tensor:
        del node
        return getattr(torch, reduce_to)(inputs[0], dim=tuple(range(2, inputs[0].ndim)), keepdim=True)

    return compute


PRODUCTS: dict[str, Operator] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool("mean"),
    "GlobalMaxPool": _global_pool("amax"),
    "MatMul": lambda node, inputs: torch.matmul(inputs[0], inputs[1]),
    "MaxPool": _max_pool,
}
