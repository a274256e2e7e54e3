"""Which axes of an op's inputs an axis of its output comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, attribute_list, input_at, is_constant, rank, static_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Node, Value

# fmt: off
ELEMENTWISE = (
    "Abs", "Add", "Cast", "Ceil", "Clip", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
    "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Pow", "PRelu", "Reciprocal", "Relu", "Round", "Selu",
    "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Sub", "Swish", "Tanh", "Where",
)
# fmt: on


@dataclass(frozen=True)
class Cut:
    """One input to slice: which axis of it for which axis of the output."""

    index: int
    axes: dict[int, int]


Cuts = list[Cut] | str
"""The inputs to slice, or why an axis cannot be followed."""
Path = Callable[["Node", "Sequence[int]"], Cuts]


def path_through(node: Node) -> Path | None:
    """Return how to follow axes of the node's output to its inputs, or None where the op is not covered."""
    return PATHS.get(node.op_type) if node.domain in ("", "ai.onnx") else None


def _aligned(value: Value | None, depth: int, axes: Sequence[int], index: int) -> Cut | None:
    """Cut an operand that broadcasts: its axes are counted from the back, those of size 1 stay."""
    shape = static_shape(value)
    if shape is None:
        return None
    offset = depth - len(shape)
    return Cut(index, {axis: axis - offset for axis in axes if axis >= offset and shape[axis - offset] != 1})


def _elementwise(node: Node, axes: Sequence[int]) -> Cuts:
    depth = rank(node.outputs[0]) or 0
    cuts = [_aligned(value, depth, axes, index) for index, value in enumerate(node.inputs) if value is not None]
    known = [cut for cut in cuts if cut is not None]
    if len(known) < len(cuts):
        return "the shape of an input is not known"
    needed = [cut for cut in known if cut.axes]
    if sum(not is_constant(input_at(node, cut.index)) for cut in needed) > 1:
        return f"{node.op_type} would need a Slice of several inputs"
    return needed


def _matmul(node: Node, axes: Sequence[int]) -> Cuts:
    left, right = static_shape(node.inputs[0]), static_shape(node.inputs[1])
    depth = rank(node.outputs[0]) or 0
    if left is None or right is None or len(left) < 2 or len(right) < 2:
        return "an operand of MatMul is a vector"
    batch = [axis for axis in axes if axis < depth - 2]
    cuts: list[Cut] = []
    for index, (shape, own) in enumerate(((left, depth - 2), (right, depth - 1))):
        offset = depth - len(shape)
        taken = {axis: axis - offset for axis in batch if axis >= offset and shape[axis - offset] != 1}
        if own in axes:
            taken[own] = own - offset
        cuts.append(Cut(index, taken))
    return [cut for cut in cuts if cut.axes]


def _gemm(node: Node, axes: Sequence[int]) -> Cuts:
    own = ((0, attribute(node, "transA", 0)), (1, 1 - attribute(node, "transB", 0)))
    cuts = [Cut(axis, {axis: place}) for axis, place in own if axis in axes]
    if input_at(node, 2) is not None:
        bias = _aligned(input_at(node, 2), 2, axes, 2)
        if bias is None:
            return "the shape of an input is not known"
        cuts.append(bias)
    return [cut for cut in cuts if cut.axes]


def _conv(node: Node, axes: Sequence[int]) -> Cuts:
    if any(axis > 1 for axis in axes):
        return "Conv mixes the places that it slices"
    if 1 in axes and attribute(node, "group", 1) != 1:
        return "Conv computes its channels in groups"
    cuts = [Cut(0, {0: 0})] if 0 in axes else []
    if 1 in axes:
        cuts += [Cut(index, {1: 0}) for index in (1, 2) if input_at(node, index) is not None]
    return cuts


def _transpose(node: Node, axes: Sequence[int]) -> Cuts:
    depth = rank(node.outputs[0]) or 0
    order = attribute_list(node, "perm", range(depth)[::-1])
    return [Cut(0, {axis: order[axis] for axis in axes})]


def _softmax(node: Node, axes: Sequence[int]) -> Cuts:
    depth = rank(node.outputs[0]) or 1
    if attribute(node, "axis", -1) % depth in axes:
        return f"{node.op_type} mixes the axis that it slices"
    return [Cut(0, {axis: axis for axis in axes})]


def _normalization(node: Node, axes: Sequence[int]) -> Cuts:
    depth = rank(node.outputs[0]) or 1
    if any(axis >= attribute(node, "axis", -1) % depth for axis in axes):
        return f"{node.op_type} mixes the axis that it slices"
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return f"{node.op_type} has more outputs that are read"
    if any((rank(value) or 0) > 1 for value in node.inputs[1:]):
        return f"the weights of {node.op_type} differ along the axis that it slices"
    return [Cut(0, {axis: axis for axis in axes})]


PATHS: dict[str, Path] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "Transpose": _transpose,
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _normalization),
}
