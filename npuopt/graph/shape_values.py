"""What is known of small integer tensors before run time: each element a number, the name of a dim, or nothing.

Exporters compute shapes in the graph. With names as values, what they compute is often known even where some dims
are not: `Concat(Shape(x)[0:1], [12, 64])` is `(batch, 12, 64)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, cast

import onnx_ir as ir

from npuopt.graph.queries import attribute, constant, dims, input_at, is_constant, static_shape
from npuopt.graph.shape_elements import ELEMENTWISE, Element

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_ELEMENTS = 64
"""Elements up to which a tensor is followed: no shape is longer."""

INTEGERS = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)
LIMITS = {ir.DataType.INT64: 2**63, ir.DataType.INT32: 2**31}


@dataclass(frozen=True)
class Known:
    """A scalar (`is_scalar`, one element) or a vector, as far as it is known."""

    elements: tuple[Element, ...]
    is_scalar: bool = False

    @property
    def numbers(self) -> list[int] | None:
        """The elements, when all of them are numbers."""
        numbers = [item for item in self.elements if isinstance(item, int)]
        return numbers if len(numbers) == len(self.elements) else None


def known_result(node: ir.Node, known: Mapping[ir.Value, Known]) -> Known | None:
    """Return what is known of the node's first output.

    Args:
        node: of the standard domain.
        known: what is known of values made by nodes; constants need not be in it.

    Returns:
        None where the op is not followed, the output is no integer or truth tensor of rank 0 or 1, or nothing at
        all is known of it.
    """
    rule = RULES.get(node.op_type)
    if rule is None or node.domain not in ("", "ai.onnx") or node.outputs[0].dtype not in INTEGERS:
        return None
    result = rule(node, Operands(node, known))
    if result is None or len(result.elements) > MOST_ELEMENTS:
        return None
    limit = LIMITS.get(cast("ir.DataType", node.outputs[0].dtype), 2)
    if any(isinstance(item, int) and not -limit <= item < limit for item in result.elements):
        return None  # it wraps around
    is_shapeless = all(item is None for item in result.elements) and result.elements
    return None if is_shapeless else result


class Operands:
    """The inputs of one node, by index."""

    def __init__(self, node: ir.Node, known: Mapping[ir.Value, Known]) -> None:
        self._node = node
        self._known = known

    def __getitem__(self, index: int) -> Known | None:
        value = input_at(self._node, index)
        if value is None:
            return None
        return self._known.get(value) or _of_constant(value)

    def numbers(self, index: int) -> list[int] | None:
        """Return an input of which every element is known."""
        found = self[index]
        return None if found is None else found.numbers


def _of_constant(value: ir.Value) -> Known | None:
    if not is_constant(value) or value.dtype not in INTEGERS:
        return None
    shape = static_shape(value)
    if shape is None or len(shape) > 1 or math.prod(shape) > MOST_ELEMENTS:
        return None
    array = constant(value)
    return None if array is None else Known(tuple(int(item) for item in array.reshape(-1)), not shape)


def _shape(node: ir.Node, operands: Operands) -> Known | None:
    del operands
    shape = dims(node.inputs[0])
    if shape is None:
        return None
    start = attribute(node, "start", 0)
    return Known(shape[start : attribute(node, "end", len(shape))])


def _size(node: ir.Node, operands: Operands) -> Known | None:
    del operands
    shape = static_shape(node.inputs[0])
    return None if shape is None else Known((math.prod(shape),), is_scalar=True)


def _gather(node: ir.Node, operands: Operands) -> Known | None:
    data, indices = operands[0], operands[1]
    if data is None or data.is_scalar or indices is None or indices.numbers is None:
        return None
    count = len(data.elements)
    if not all(-count <= index < count for index in indices.numbers):
        return None
    return Known(tuple(data.elements[index] for index in indices.numbers), indices.is_scalar)


def _slice(node: ir.Node, operands: Operands) -> Known | None:
    data, starts, ends = operands[0], operands.numbers(1), operands.numbers(2)
    steps = [1] if input_at(node, 4) is None else operands.numbers(4)
    if data is None or data.is_scalar or starts is None or ends is None or not steps:
        return None
    if len(starts) != 1 or len(ends) != 1 or steps[0] == 0:
        return None
    return Known(data.elements[starts[0] : ends[0] : steps[0]])


def _same_elements(node: ir.Node, operands: Operands) -> Known | None:
    """Reshape, Squeeze, Unsqueeze, Flatten: the output's rank says whether it is a scalar."""
    data, shape = operands[0], node.outputs[0].shape
    if data is None or shape is None or len(shape) > 1 or (len(shape) == 0 and len(data.elements) != 1):
        return None
    return Known(data.elements, is_scalar=len(shape) == 0)


def _cast(node: ir.Node, operands: Operands) -> Known | None:
    data = operands[0]
    if data is None or node.outputs[0].dtype != ir.DataType.BOOL:
        return data
    return Known(tuple(int(item != 0) if isinstance(item, int) else None for item in data.elements), data.is_scalar)


def _concat(node: ir.Node, operands: Operands) -> Known | None:
    parts: list[Element] = []
    for index, value in enumerate(node.inputs):
        part, shape = operands[index], static_shape(value)
        if part is not None:
            parts += part.elements
        elif shape is not None and len(shape) == 1 and shape[0] <= MOST_ELEMENTS:
            parts += repeat(None, shape[0])
        else:
            return None
    return Known(tuple(parts))


def _constant_of_shape(node: ir.Node, operands: Operands) -> Known | None:
    shape = operands.numbers(0)
    if shape is None or len(shape) > 1 or math.prod(shape) > MOST_ELEMENTS:
        return None
    value = node.attributes.get("value")
    item = int(value.as_tensor().numpy().reshape(-1)[0]) if value is not None else 0
    return Known((item,) * math.prod(shape), is_scalar=not shape)


def _range(node: ir.Node, operands: Operands) -> Known | None:
    bounds = [operands.numbers(index) for index in range(3)]
    if any(bound is None or len(bound) != 1 for bound in bounds):
        return None
    start, limit, delta = (cast("list[int]", bound)[0] for bound in bounds)
    if delta == 0 or len(range(start, limit, delta)) > MOST_ELEMENTS:
        return None
    return Known(tuple(range(start, limit, delta)))


def _expand(node: ir.Node, operands: Operands) -> Known | None:
    data, shape = operands[0], static_shape(node.outputs[0])
    if data is None or shape is None or len(shape) > 1 or math.prod(shape) > MOST_ELEMENTS:
        return None
    elements = data.elements if len(data.elements) != 1 else data.elements * math.prod(shape)
    return Known(elements, is_scalar=not shape)


def _elementwise(rule: Callable[..., Element]) -> Callable[[ir.Node, Operands], Known | None]:
    def apply(node: ir.Node, operands: Operands) -> Known | None:
        return _broadcast(rule, [operands[index] for index in range(len(node.inputs))])

    return apply


def _broadcast(rule: Callable[..., Element], inputs: Sequence[Known | None]) -> Known | None:
    found = [item for item in inputs if item is not None]
    if len(found) != len(inputs):
        return None
    lengths = {len(item.elements) for item in found} - {1}
    if len(lengths) > 1:
        return None
    length = lengths.pop() if lengths else 1
    columns = [item.elements if len(item.elements) == length else item.elements * length for item in found]
    return Known(tuple(map(rule, *columns)), all(item.is_scalar for item in found))


RULES: dict[str, Callable[[ir.Node, Operands], Known | None]] = {
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Slice": _slice,
    "Reshape": _same_elements,
    "Flatten": _same_elements,
    "Squeeze": _same_elements,
    "Unsqueeze": _same_elements,
    "Identity": _same_elements,
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Expand": _expand,
    **{op_type: _elementwise(rule) for op_type, rule in ELEMENTWISE.items()},
}
