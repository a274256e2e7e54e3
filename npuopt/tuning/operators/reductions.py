"""Reductions, normalizations and softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.tuning.operators.inputs import filled_up
from npuopt.tuning.torch_api import functional, torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from npuopt.graph import Node
    from npuopt.tuning.operators.elementwise import Operator
    from npuopt.tuning.torch_api import Tensor


def _reduction(compute: Callable[..., Tensor]) -> Operator:
    def reduced(node: Node, inputs: Sequence[Tensor]) -> Tensor:
        data, axes = filled_up(inputs, 2)
        chosen: list[int] = [] if axes is None else axes.tolist()
        if not chosen and attribute(node, "noop_with_empty_axes", 0):
            return data
        chosen = chosen or list(range(data.ndim))
        return compute(data, dim=tuple(chosen), keepdim=bool(attribute(node, "keepdims", 1)))

    return reduced


def _sum_of_squares(data: Tensor, *, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.sum(data * data, dim=dim, keepdim=keepdim)


def _l2(data: Tensor, *, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.sqrt(_sum_of_squares(data, dim=dim, keepdim=keepdim))


def _l1(data: Tensor, *, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.sum(torch.abs(data), dim=dim, keepdim=keepdim)


def _softmax(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return torch.softmax(inputs[0], dim=attribute(node, "axis", -1))


def _log_softmax(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return torch.log_softmax(inputs[0], dim=attribute(node, "axis", -1))


def _normalized_axes(node: Node, data: Tensor) -> tuple[int, ...]:
    return tuple(range(attribute(node, "axis", -1) % data.ndim, data.ndim))


def _layer_normalization(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, scale, bias = filled_up(inputs, 3)
    axes = _normalized_axes(node, data)
    centred = data - data.mean(dim=axes, keepdim=True)
    variance = (centred * centred).mean(dim=axes, keepdim=True)
    made = centred * torch.rsqrt(variance + attribute(node, "epsilon", 1e-5)) * scale
    return made if bias is None else made + bias


def _rms_normalization(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, scale = inputs[0], inputs[1]
    square = (data * data).mean(dim=_normalized_axes(node, data), keepdim=True)
    return data * torch.rsqrt(square + attribute(node, "epsilon", 1e-5)) * scale


def _batch_normalization(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, scale, bias, mean, variance = inputs
    return functional.batch_norm(data, mean, variance, scale, bias, eps=attribute(node, "epsilon", 1e-5))


def _instance_normalization(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, scale, bias = inputs
    return functional.instance_norm(data, weight=scale, bias=bias, eps=attribute(node, "epsilon", 1e-5))


def _group_normalization(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, scale, bias = inputs
    groups = attribute(node, "num_groups", 1)
    return functional.group_norm(data, groups, scale, bias, eps=attribute(node, "epsilon", 1e-5))


def _cumulative_sum(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, axis = inputs[0], int(inputs[1].item())
    backwards, exclusive = attribute(node, "reverse", 0), attribute(node, "exclusive", 0)
    along = data.flip(axis) if backwards else data
    summed = torch.cumsum(along, dim=axis).to(data.dtype)
    summed = summed - along if exclusive else summed
    return summed.flip(axis) if backwards else summed


REDUCTIONS: dict[str, Operator] = {
    "BatchNormalization": _batch_normalization,
    "CumSum": _cumulative_sum,
    "GroupNormalization": _group_normalization,
    "InstanceNormalization": _instance_normalization,
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": _log_softmax,
    "RMSNormalization": _rms_normalization,
    "ReduceL1": _reduction(_l1),
    "ReduceL2": _reduction(_l2),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceSum": _reduction(torch.sum),
    "ReduceSumSquare": _reduction(_sum_of_squares),
    "Softmax": _softmax,
}
