"""Shapes of tensors whose size is computed in the graph, dim by dim: a number, the name of a dim, or nothing.

Inference knows what constants say; here what is known of computed targets, bounds and limits is followed too.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import TYPE_CHECKING

import onnx_ir as ir

from npuopt.graph.inference import infer_node
from npuopt.graph.queries import attribute, dims, input_at
from npuopt.graph.shape_values import MOST_ELEMENTS, Operands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from npuopt.graph.shape_elements import Element
    from npuopt.graph.shape_values import Known

TO_THE_END = 2**31 - 1
"""Exporters write `to the end` as this or more."""

MADE_UP = 1
MADE_UP_NAME = "unk__"
"""How the names begin that ONNX's inference gives to dims that it does not know."""

Dims = tuple["Element", ...]


def known_shape(node: ir.Node, known: Mapping[ir.Value, Known]) -> Dims | None:
    """Return what is known of the shape of the node's first output, or None where nothing can be said.

    Args:
        node: of the standard domain.
        known: what is known of the elements of values made by nodes; constants need not be in it.
    """
    rule = RULES.get(node.op_type)
    if rule is None or node.domain not in ("", "ai.onnx"):
        return None
    found = rule(node, Operands(node, known))
    return None if found is None or len(found) > MOST_ELEMENTS else found


def note_dims(value: ir.Value, found: Dims) -> bool:
    """Add `found` to what is known of the value's dims where it says as much; return whether that changed anything.

    Of two names that inference made up, `found` is taken: it is the name of what the dim was computed from.
    """
    before = dims(value)
    if before is not None and len(before) != len(found):
        return False
    old = before or (None,) * len(found)
    after = tuple(
        new if _says(new) > _says(mine) or _says(new) == MADE_UP == _says(mine) else mine
        for mine, new in zip(old, found, strict=True)
    )
    if after == before:
        return False
    value.shape = ir.Shape(after)
    return True


def infer_again(node: ir.Node, opset: int) -> bool:
    """Infer what `node` makes, since more is known of what it reads; return whether anything came of it.

    Names that inference once made up do not stand against what it finds now.
    """
    before = [dims(output) for output in node.outputs]
    for output, shape in zip(node.outputs, before, strict=True):
        if shape is not None:
            output.shape = ir.Shape([dim if _says(dim) > MADE_UP else None for dim in shape])
    infer_node(node, opset)
    for output, shape in zip(node.outputs, before, strict=True):
        found = dims(output)
        if shape is not None and found is not None and None in found:
            output.shape = ir.Shape([old if new is None else new for old, new in zip(shape, found, strict=True)])
    return any(dims(output) != shape for output, shape in zip(node.outputs, before, strict=True))


def has_made_up_dim(value: ir.Value) -> bool:
    """Say whether a dim of the value has a name that inference made up."""
    shape = value.shape
    return shape is not None and any(
        not isinstance(dim, int) and dim.value is not None and dim.value.startswith(MADE_UP_NAME) for dim in shape.dims
    )


def _says(dim: Element) -> int:
    """Rank what is known of a dim: nothing, a name that inference made up, a name of the model's, a number."""
    if isinstance(dim, int):
        return MADE_UP + 2
    return 0 if dim is None else MADE_UP if dim.startswith(MADE_UP_NAME) else MADE_UP + 1


def _expand(node: ir.Node, operands: Operands) -> Dims | None:
    shape, target = dims(node.inputs[0]), operands[1]
    if shape is None or target is None:
        return None
    rank = max(len(shape), len(target.elements))
    left = (*[1] * (rank - len(shape)), *shape)
    right = (*[1] * (rank - len(target.elements)), *target.elements)
    return tuple(map(_broadcast, left, right))


def _broadcast(left: Element, right: Element) -> Element:
    if right in (left, 1):
        return left
    if left == 1:
        return right
    # Sizes other than 1 must be equal, so that a number settles what the other side leaves open.
    return next((item for item in (left, right) if isinstance(item, int)), None)


def _reshape(node: ir.Node, operands: Operands) -> Dims | None:
    shape, target = dims(node.inputs[0]) or (), operands[1]
    if target is None or attribute(node, "allowzero", 0):
        return None

    def dim(index: int, item: Element) -> Element:
        if item == 0:
            return shape[index] if index < len(shape) else None
        return item

    found = [dim(index, item) for index, item in enumerate(target.elements)]
    rest = _rest(shape, [item for item in found if item != -1])
    return tuple(rest if item == -1 else item for item in found)


def _rest(shape: Sequence[Element], others: Sequence[Element]) -> Element:
    """Return the name of the one dim of `shape` that the other dims of a Reshape's result leave over, if it is one."""
    if None in shape or None in others:
        return None
    numbers, names = [prod(item for item in dims if isinstance(item, int)) for dims in (shape, others)], Counter(shape)
    names.subtract(others)
    left = {name: count for name, count in names.items() if isinstance(name, str) and count}
    return next(iter(left)) if numbers[0] == numbers[1] != 0 and list(left.values()) == [1] else None


def _slice(node: ir.Node, operands: Operands) -> Dims | None:
    shape, starts, ends = dims(node.inputs[0]), operands[1], operands[2]
    axes = operands.numbers(3) if input_at(node, 3) is not None else None
    steps = operands.numbers(4) if input_at(node, 4) is not None else None
    if shape is None or starts is None or ends is None or (axes is None and input_at(node, 3) is not None):
        return None
    count = len(starts.elements)
    if steps is None and input_at(node, 4) is not None:
        return None
    found = list(shape)
    for index, axis in enumerate(range(count) if axes is None else axes):
        start, end, step = starts.elements[index], ends.elements[index], 1 if steps is None else steps[index]
        dim = shape[axis]
        whole = end == dim or (isinstance(end, int) and end >= TO_THE_END)
        if not (start == 0 and step == 1 and dim is not None and whole):
            found[axis] = None
    return tuple(found)


def _range(node: ir.Node, operands: Operands) -> Dims | None:
    del node
    start, limit, delta = (operands[index] for index in range(3))
    if start is None or limit is None or delta is None or len(limit.elements) != 1:
        return None
    return (limit.elements[0],) if start.numbers == [0] and delta.numbers == [1] and _is_name(limit) else None


def _is_name(known: Known) -> bool:
    return isinstance(known.elements[0], str)


def _constant_of_shape(node: ir.Node, operands: Operands) -> Dims | None:
    del node
    target = operands[0]
    return None if target is None or target.is_scalar else target.elements


RULES: dict[str, Callable[[ir.Node, Operands], Dims | None]] = {
    "Expand": _expand,
    "Reshape": _reshape,
    "Slice": _slice,
    "Range": _range,
    "ConstantOfShape": _constant_of_shape,
}
