"""Conditions of a descriptor, compiled into functions that ask one node and yield what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from npuopt.graph import Node, constant, dims, input_at, rank
from npuopt.target.constraints import (
    AbsentConstraint,
    AttributeConstraint,
    AxisConstraint,
    Bounds,
    Condition,
    ConstantConstraint,
    CountConstraint,
    DimensionConstraint,
    DtypeConstraint,
    PredicateConstraint,
    PresentConstraint,
    ProductConstraint,
    RankConstraint,
    StaticConstraint,
    ValueConstraint,
    VariableConstraint,
    parse_place,
)
from npuopt.target.predicates import PREDICATES
from npuopt.target.views import known_at_compile_time, type_name, values_at

if TYPE_CHECKING:
    from npuopt.graph import Value

Check: TypeAlias = Callable[[Node], Iterator[str]]

LARGEST_VALUE = 1 << 16
"""Most elements of a constant input that a `value` condition looks at."""


def compile_condition(condition: Condition) -> Check:
    """Make the function that asks a node: it yields one sentence for each thing at fault, nothing when all is well.

    A condition holds where its `if` does, and the `if` of that one, and so on.
    """
    ask = cast("Callable[[Any, Node], Iterator[str]]", _ASK[type(condition)])
    because = f" ({condition.because})" if condition.because else ""
    guards: list[Check] = []
    outer = cast("Condition | None", condition.if_)
    while outer is not None:
        guards.append(partial(cast("Callable[[Any, Node], Iterator[str]]", _ASK[type(outer)]), outer))
        outer = cast("Condition | None", outer.if_)

    def check(node: Node) -> Iterator[str]:
        if any(True for guard in guards for _ in guard(node)):
            return
        for fault in ask(condition, node):
            yield f"{fault}{because}"

    return check


def _fault(bounds: Bounds, given: object) -> str | None:
    """Say how `given` breaks the bounds: `is 6; at most 5 is taken`."""
    if bounds.equal is not None and given != bounds.equal:
        return f"is {_show(given)}; only {_show(bounds.equal)} is taken"
    if bounds.one_of is not None and given not in bounds.one_of:
        return f"is {_show(given)}; one of {', '.join(map(_show, bounds.one_of))} is taken"
    if not isinstance(given, int | float):
        return None
    if bounds.min is not None and given < bounds.min:
        return f"is {_show(given)}; at least {_show(bounds.min)} is taken"
    if bounds.max is not None and given > bounds.max:
        return f"is {_show(given)}; at most {_show(bounds.max)} is taken"
    if bounds.multiple_of is not None and given % bounds.multiple_of != 0:
        return f"is {_show(given)}; a multiple of {bounds.multiple_of} is taken"
    return None


def _show(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_show, cast('tuple[object, ...]', value)))}]"
    return str(value)


def _each(bounds: Bounds, what: str, values: tuple[object, ...]) -> Iterator[str]:
    """Hold each item of a list to the bounds, or the whole list to `equal` where that is a list."""
    if isinstance(bounds.equal, tuple):
        if fault := _fault(bounds, values):
            yield f"{what} {fault}"
        return
    for value in dict.fromkeys(values):
        if fault := _fault(bounds, value):
            yield f"{what} {fault}"


def attribute_value(node: Node, name: str) -> object:
    """Return an attribute as plain data (lists as tuples), or the ONNX schema's default, or None."""
    found = node.attributes.get(name)
    if found is None or found.value is None:
        return _schema_default(node.op_type, node.domain, name)
    value = cast("object", found.value)
    if isinstance(value, list | tuple):
        return tuple(cast("list[object]", value))
    return value if isinstance(value, str | int | float) else None


@lru_cache(maxsize=4096)
def _schema_default(op_type: str, domain: str, name: str) -> object:
    import onnx  # noqa: PLC0415 -- only where a condition asks for a default

    if not onnx.defs.has(op_type, domain):
        return None
    declared = onnx.defs.get_schema(op_type, domain).attributes.get(name)
    if declared is None or not declared.default_value.type:
        return None
    default = onnx.helper.get_attribute_value(declared.default_value)
    if isinstance(default, bytes):
        return default.decode(errors="replace")
    return tuple(cast("list[object]", default)) if isinstance(default, list) else default


def _attribute(condition: AttributeConstraint, node: Node) -> Iterator[str]:
    value = attribute_value(node, condition.attribute)
    if value is None:
        return
    items = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    if condition.at is not None:
        items = items[condition.at : condition.at + 1 or None]
    yield from _each(condition, f"attribute {condition.attribute}", items)


def _value(condition: ValueConstraint, node: Node) -> Iterator[str]:
    for where, value in values_at(node, condition.value):
        if not known_at_compile_time(value):
            yield f"{where} is known at run time only; a constant is needed"
            continue
        array = constant(value)
        if array is None or array.size > LARGEST_VALUE:
            yield f"{where} holds more than {LARGEST_VALUE} elements or is quantized; its values are not looked at"
            continue
        yield from _each(condition, f"the value of {where}", tuple(cast("list[object]", array.reshape(-1).tolist())))


def _rank(condition: RankConstraint, node: Node) -> Iterator[str]:
    for where, value in values_at(node, condition.rank):
        given = rank(value)
        if given is None:
            yield f"{where} has no known rank"
        elif fault := _fault(condition, given):
            yield f"rank of {where} {fault}"


def _known_dims(where: str, value: Value) -> tuple[tuple[int, ...] | None, str]:
    """Return the dims when all are numbers, else None and a sentence that says which is not."""
    shape = dims(value)
    if shape is None:
        return None, f"{where} has no known shape"
    for axis, size in enumerate(shape):
        if not isinstance(size, int):
            return None, f"dimension {axis} of {where} is {size or 'unknown'}, not a number"
    return cast("tuple[int, ...]", shape), ""


def _dimension(condition: DimensionConstraint, node: Node) -> Iterator[str]:
    for where, value in values_at(node, condition.dimension):
        shape = dims(value)
        if shape is None:
            yield f"{where} has no known shape"
            continue
        axes = range(len(shape)) if condition.axis is None else (condition.axis,)
        for axis in axes:
            if not -len(shape) <= axis < len(shape):
                continue  # no such dimension: a rank condition's business
            size = shape[axis]
            if not isinstance(size, int):
                yield f"dimension {axis} of {where} is {size or 'unknown'}, not a number"
            elif fault := _fault(condition, size):
                yield f"dimension {axis} of {where} {fault}"


def _product(condition: ProductConstraint, node: Node) -> Iterator[str]:
    if condition.product.startswith("attribute "):
        name = condition.product.removeprefix("attribute ")
        value = attribute_value(node, name)
        if isinstance(value, tuple) and (fault := _fault(condition, prod(cast("tuple[int, ...]", value)))):
            yield f"the product of attribute {name} {fault}"
        return
    for where, value in values_at(node, condition.product):
        shape, unknown = _known_dims(where, value)
        if shape is None:
            yield unknown
            continue
        axes = range(len(shape)) if condition.axes is None else condition.axes
        sizes = [shape[axis] for axis in axes if -len(shape) <= axis < len(shape)]
        if fault := _fault(condition, prod(sizes)):
            which = "all dimensions" if condition.axes is None else f"dimensions {_show(condition.axes)}"
            yield f"the product of {which} of {where} {fault}"


def _count(condition: CountConstraint, node: Node) -> Iterator[str]:
    values = node.inputs if condition.count == "inputs" else node.outputs
    given = sum(value is not None and value.name != "" for value in values)
    if fault := _fault(condition, given):
        yield f"the number of {condition.count} {fault}"


def _axis_from_end(condition: AxisConstraint, node: Node) -> Iterator[str]:
    axis = attribute_value(node, condition.axis_from_end)
    size = rank(input_at(node, 0))
    if not isinstance(axis, int):
        return
    if size is None:
        yield "input 0 has no known rank"
    elif fault := _fault(condition, axis - size if axis >= 0 else axis):
        yield f"attribute {condition.axis_from_end} counted from the end {fault}"


def _dtype(condition: DtypeConstraint, node: Node) -> Iterator[str]:
    for where, value in values_at(node, condition.dtype):
        given = type_name(value)
        if given not in condition.one_of:
            yield f"type of {where} is {given or 'unknown'}; one of {', '.join(condition.one_of)} is taken"


def _static(condition: StaticConstraint, node: Node) -> Iterator[str]:
    for where, value in values_at(node, condition.static):
        if fault := not_static(where, value):
            yield fault


def not_static(where: str, value: Value) -> str:
    """Say which dimension of a value is no number, or nothing when all are."""
    return _known_dims(where, value)[1]


def _constant(condition: ConstantConstraint, node: Node) -> Iterator[str]:
    for where, value in values_at(node, condition.constant):
        if not known_at_compile_time(value):
            yield f"{where} is known at run time only; a constant is needed"


def _variable(condition: VariableConstraint, node: Node) -> Iterator[str]:
    for where, value in values_at(node, condition.variable):
        if known_at_compile_time(value):
            yield f"{where} is a constant; a run-time value is needed"


def _present(condition: PresentConstraint, node: Node) -> Iterator[str]:
    if not any(_given(node, condition.present)):
        yield f"{condition.present} is left out; it is needed"


def _absent(condition: AbsentConstraint, node: Node) -> Iterator[str]:
    for where in _given(node, condition.absent):
        yield f"{where} is given; it must be left out"


def _given(node: Node, place: str) -> Iterator[str]:
    """Yield what is given at a place; an output counts when it is read."""
    if place.startswith("attribute "):
        if place.removeprefix("attribute ") in node.attributes:
            yield place
        return
    side, _ = parse_place(place)
    for where, value in values_at(node, place):
        if side == "input" or value.uses() or value.is_graph_output():
            yield where


def _predicate(condition: PredicateConstraint, node: Node) -> Iterator[str]:
    if fault := PREDICATES[condition.predicate](node):
        yield fault


_ASK: dict[type[Condition], object] = {
    AbsentConstraint: _absent,
    AttributeConstraint: _attribute,
    AxisConstraint: _axis_from_end,
    ConstantConstraint: _constant,
    CountConstraint: _count,
    DimensionConstraint: _dimension,
    DtypeConstraint: _dtype,
    PredicateConstraint: _predicate,
    PresentConstraint: _present,
    ProductConstraint: _product,
    RankConstraint: _rank,
    StaticConstraint: _static,
    ValueConstraint: _value,
    VariableConstraint: _variable,
}
