"""Ops that only move, repeat, pick or convert elements."""

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

CAST_TO = {
    1: "float32",
    2: "uint8",
    3: "int8",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
}
"""ONNX element types that torch has, by their numbers."""


def _cast(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    kind = CAST_TO.get(attribute(node, "to", 1))
    if kind is None:
        raise InputError("this Cast's element type cannot be tuned through", where=label(node))
    return inputs[0].to(getattr(torch, kind))


def _concat(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(inputs), dim=attribute(node, "axis", 0))


def _expand(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    del node
    return inputs[0].expand(torch.broadcast_shapes(inputs[0].shape, tuple(inputs[1].tolist())))


def _flatten(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    axis = attribute(node, "axis", 1)
    rows = inputs[0].shape[: axis if axis >= 0 else axis + inputs[0].ndim].numel()
    return inputs[0].reshape(rows, -1)


def _gather(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, indices = inputs[0], inputs[1].to(torch.int64)
    axis = attribute(node, "axis", 0) % data.ndim
    size = data.shape[axis]
    flat = torch.where(indices < 0, indices + size, indices).reshape(-1)
    return data.index_select(axis, flat).reshape(*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])


def _gather_elements(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    axis = attribute(node, "axis", 0)
    indices = inputs[1].to(torch.int64)
    return torch.gather(inputs[0], axis, torch.where(indices < 0, indices + inputs[0].shape[axis], indices))


def _pad(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    if attribute(node, "mode", "constant") != "constant":
        raise InputError("only constant padding can be tuned through", where=label(node))
    data, pads, fill, axes = filled_up(inputs, 4)
    chosen = list(range(data.ndim)) if axes is None else [axis % data.ndim for axis in axes.tolist()]
    around = pads.tolist()
    by_axis = {axis: (around[at], around[at + len(chosen)]) for at, axis in enumerate(chosen)}
    # torch counts pads from the last axis on
    sides = [side for axis in reversed(range(data.ndim)) for side in by_axis.get(axis, (0, 0))]
    return functional.pad(data, sides, value=0 if fill is None else fill.item())


def _reshape(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, sizes = inputs[0], inputs[1].tolist()
    if not attribute(node, "allowzero", 0):
        sizes = [data.shape[at] if size == 0 else size for at, size in enumerate(sizes)]
    return data.reshape(sizes)


def _slice(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    del node
    data, starts, ends, axes, steps = filled_up(inputs, 5)
    starts, ends = starts.tolist(), ends.tolist()
    for at, axis in enumerate(range(len(starts)) if axes is None else axes.tolist()):
        step = 1 if steps is None else steps.tolist()[at]
        places = range(*slice(starts[at], ends[at], step).indices(data.shape[axis]))
        data = data.index_select(axis, torch.tensor(list(places), dtype=torch.int64))
    return data


def _split(node: Node, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    data, axis = inputs[0], attribute(node, "axis", 0)
    sizes = filled_up(inputs, 2)[1]
    if sizes is not None:
        return torch.split(data, sizes.tolist(), dim=axis)
    return torch.split(data, -(-data.shape[axis] // len(node.outputs)), dim=axis)


def _squeeze(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    del node
    data, axes = filled_up(inputs, 2)
    return data.squeeze() if axes is None else data.squeeze(tuple(axes.tolist()))


def _transpose(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    order = attribute_list(node, "perm") or list(reversed(range(inputs[0].ndim)))
    return inputs[0].permute(order)


def _tile(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    del node
    return inputs[0].repeat(inputs[1].tolist())


def _trilu(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    data, offset = filled_up(inputs, 2)
    return (torch.triu if attribute(node, "upper", 1) else torch.tril)(data, 0 if offset is None else offset.item())


def _unsqueeze(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    del node
    axes = inputs[1].tolist()
    data, made = inputs[0], inputs[0].ndim + len(axes)
    for axis in sorted(axis % made for axis in axes):
        data = data.unsqueeze(axis)
    return data


def _depth_to_space(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    batch, channels, *size = inputs[0].shape
    block = attribute(node, "blocksize", 1)
    left = channels // block**2
    if attribute(node, "mode", "DCR") == "DCR":
        parts = inputs[0].reshape(batch, block, block, left, *size).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = inputs[0].reshape(batch, left, block, block, *size).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(batch, left, size[0] * block, size[1] * block)


def _space_to_depth(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    batch, channels, height, width = inputs[0].shape
    block = attribute(node, "blocksize", 1)
    parts = inputs[0].reshape(batch, channels, height // block, block, width // block, block)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * block**2, height // block, width // block)


MOVEMENT: dict[str, Operator] = {
    "Cast": _cast,
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
