"""Cases at and just past every bound that a descriptor sets, and on both sides of its other conditions.

They are made from the catalogue's cases by changing one thing.

A case that ONNX does not allow, or that a bound cannot be reached with, is simply not there; what is there is judged
like any other case, so nothing here needs to know what an op means.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import onnx

from npuopt.target.constraints import (
    AttributeConstraint,
    AxisConstraint,
    Bounds,
    ConstantConstraint,
    CountConstraint,
    DimensionConstraint,
    DtypeConstraint,
    ProductConstraint,
    RankConstraint,
    ValueConstraint,
    VariableConstraint,
    parse_place,
)
from npuopt.target.probing.case import OPSET, Data, Fixed, Parameter
from npuopt.target.probing.catalogue import cases_by_op

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from npuopt.target.constraints import Condition
    from npuopt.target.probing.case import Attribute, Case, Input
    from npuopt.target.schema import OpRule
    from npuopt.target.target import Target

BASES = 6
"""Cases of the catalogue that each bound is tried on: those whose first inputs differ in shape."""
LARGEST = 1 << 20
"""Elements up to which a tensor is made to reach a bound."""


@dataclass(frozen=True)
class BoundCase:
    """A case made to meet, or to break, one bound.

    Attributes:
        case: the node.
        about: the bound, such as `when[0].max`.
        value: what the bounded quantity was set to.
    """

    case: Case
    about: str
    value: float | str


def bound_cases(target: Target) -> dict[str, tuple[BoundCase, ...]]:
    """Return for each op of the descriptor the cases at and just past its bounds, each once."""
    found: dict[str, tuple[BoundCase, ...]] = {}
    for name, rule in target.ops.items():
        bases = _bases(cases_by_op().get(name, ()))
        cases = cases_by_op().get(name, ())
        made = {
            made.case.label: made
            for made in (*_of_rule(rule, bases, target.shapes.max_rank), *_with_batch_of_one(rule, cases))
        }
        known = {case.label for case in cases}
        found[name] = tuple(made[label] for label in made if label not in known)
    return found


def _bases(cases: Iterable[Case]) -> list[Case]:
    """Pick cases whose first inputs differ in shape."""
    by_shape: dict[object, Case] = {}
    for case in cases:
        first = next((item for item in case.inputs if isinstance(item, Data)), None)
        by_shape.setdefault((len(case.inputs), None if first is None else len(first.shape)), case)
    return list(by_shape.values())[:BASES]


def _of_rule(rule: OpRule, bases: list[Case], max_rank: int | None) -> Iterator[BoundCase]:
    ranks = [rank for bound in (rule.rank, None if max_rank is None else (0, max_rank)) if bound for rank in bound]
    for rank in ranks:
        for value in (rank - 1, rank, rank + 1):
            yield from (BoundCase(case, "rank", value) for case in _with_rank(bases, 0, value))
    for index, condition in enumerate(rule.when):
        path, inner = f"when[{index}]", cast("Condition | None", condition)
        while inner is not None:
            yield from _of_condition(inner, bases, path)
            path, inner = f"{path}.if", inner.if_


def _of_condition(condition: Condition, bases: list[Case], path: str) -> Iterator[BoundCase]:
    match condition:
        case Bounds():
            for bound, value in _values(condition):
                yield from (BoundCase(case, f"{path}.{bound}", value) for case in _reach(condition, bases, value))
        case DtypeConstraint():
            for case in bases:
                for dtype in case.allowed_types():
                    yield BoundCase(case.with_type(dtype), f"{path}.dtype", dtype)
        case ConstantConstraint() | VariableConstraint():
            place = condition.constant if isinstance(condition, ConstantConstraint) else condition.variable
            for case in _swapped(bases, _input_index(place)):
                yield BoundCase(case, f"{path}.constant", place)
        case _:
            return


def _with_batch_of_one(rule: OpRule, cases: Iterable[Case]) -> Iterator[BoundCase]:
    """Yield every case of the catalogue with a batch of one for a rule that takes no other: most have one of two."""
    batch = next((one for one in rule.when if isinstance(one, DimensionConstraint) and _is_batch_of_one(one)), None)
    for case in cases if batch is not None else ():
        size = next((item.shape[0] for item in case.inputs if isinstance(item, Data) and item.shape), 1)
        inputs = tuple(
            _sized(item, 0, 1, ()) if isinstance(item, Data) and item.shape and item.shape[0] == size else item
            for item in case.inputs
        )
        if size > 1:
            yield BoundCase(replace(case, inputs=inputs), "batch", case.label)


def _is_batch_of_one(condition: DimensionConstraint) -> bool:
    return (condition.dimension, condition.axis, condition.max) == ("input 0", 0, 1) and condition.if_ is None


def _values(bounds: Bounds) -> Iterator[tuple[str, float | str]]:
    """Yield each bound with the values at it and just past it."""
    for name, bound, past in (("min", bounds.min, -1), ("max", bounds.max, 1)):
        if bound is not None:
            yield name, bound
            yield name, bound + past
    if bounds.multiple_of is not None:
        yield "multiple_of", bounds.multiple_of
        yield "multiple_of", bounds.multiple_of + 1
    choices = bounds.one_of or (() if bounds.equal is None or isinstance(bounds.equal, tuple) else (bounds.equal,))
    name = "one_of" if bounds.one_of else "equal"
    for choice in choices:
        yield name, choice
    numbers = [choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)]
    for past in {min(numbers) - 1, max(numbers) + 1} if numbers else ():
        yield name, past


def _reach(bounds: Bounds, bases: list[Case], value: float | str) -> Iterator[Case]:
    """Yield the base cases changed so that the bounded quantity is `value`."""
    match bounds:
        case AttributeConstraint():
            yield from _with_attribute(bases, bounds.attribute, bounds.at, value)
        case ProductConstraint() if bounds.product.startswith("attribute ") and isinstance(value, int):
            yield from _with_attribute(bases, bounds.product.removeprefix("attribute "), -1, value)
        case AxisConstraint():
            yield from _with_attribute(bases, bounds.axis_from_end, None, value)
        case ValueConstraint():
            index = parse_place(bounds.value)[1] or 0
            yield from (
                _with_input(case, index, replace(item, value=_filled(item, value)))
                for case, item in _fixed(bases, index)
            )
        case RankConstraint() if isinstance(value, int):
            yield from _with_rank(bases, _input_index(bounds.rank), value)
        case DimensionConstraint() if isinstance(value, int):
            yield from _with_size(bases, _input_index(bounds.dimension), bounds.axis, value)
        case ProductConstraint() if isinstance(value, int):
            yield from _with_size(
                bases, _input_index(bounds.product), (bounds.axes or (-1,))[-1], value, alone=bounds.axes
            )
        case CountConstraint() if isinstance(value, int) and value > 0:
            yield from (replace(case, inputs=(*case.inputs, *case.inputs[-1:] * value)[:value]) for case in bases)
        case _:
            return


def _input_index(place: str) -> int:
    """Return the input to change: the named one, or the first, which the outputs mostly follow."""
    side, index = parse_place(place)
    return index or 0 if side == "input" else 0


def _with_attribute(bases: list[Case], name: str, at: int | None, value: float | str) -> Iterator[Case]:
    for case in bases:
        old = case.attributes.get(name, _default(case, name))
        new: Attribute
        if isinstance(old, tuple):
            items = list(cast("tuple[float, ...]", old))
            for index in range(len(items)) if at is None else (at,):
                if -len(items) <= index < len(items):
                    items[index] = cast("float", value)
            if at == -1 and name != "pads":
                items[:-1] = [1] * (len(items) - 1)
            new = cast("Attribute", tuple(items))
        else:
            new = cast("Attribute", value)
        yield replace(case, attributes={**case.attributes, name: new})


def _default(case: Case, name: str) -> Attribute | None:
    """Return a list of ones where the attribute is a list by the ONNX schema and the case leaves it out."""
    if not onnx.defs.has(case.op_type, OPSET, case.domain):
        return None
    declared = onnx.defs.get_schema(case.op_type, OPSET, case.domain).attributes.get(name)
    if declared is None or declared.type != onnx.defs.OpSchema.AttrType.INTS:
        return None
    first = next((item for item in case.inputs if isinstance(item, Data)), None)
    spatial = max(len(first.shape) - 2, 1) if first is not None else 1
    return (0,) * (2 * spatial) if name == "pads" else (1,) * spatial


def _fixed(bases: list[Case], index: int) -> Iterator[tuple[Case, Fixed]]:
    for case in bases:
        item = case.inputs[index] if index < len(case.inputs) else None
        if isinstance(item, Fixed):
            yield case, item


def _filled(item: Fixed, value: float | str) -> float | tuple[float, ...]:
    number = cast("float", value)
    return (number,) * len(item.value) if isinstance(item.value, tuple) else number


def _swapped(bases: list[Case], index: int) -> Iterator[Case]:
    """Yield cases with a constant input given at run time, and a run-time input made constant."""
    for case in bases:
        item = case.inputs[index] if index < len(case.inputs) else None
        if isinstance(item, Data):
            yield _with_input(case, index, Parameter(item.shape, "activation", None, item.low, item.high, item.dtype))
        elif isinstance(item, Parameter):
            yield _with_input(case, index, Data(item.shape, item.low, item.high, item.dtype))
        elif isinstance(item, Fixed):
            values = item.value if isinstance(item.value, tuple) else (item.value,)
            shape = item.shape or ((len(values),) if isinstance(item.value, tuple) else ())
            yield _with_input(case, index, Data(shape, min(values), max(values) + 1, item.dtype))


def _with_input(case: Case, index: int, item: Input) -> Case:
    return replace(case, inputs=(*case.inputs[:index], item, *case.inputs[index + 1 :]))


def _with_rank(bases: list[Case], index: int, rank: int) -> Iterator[Case]:
    """Yield cases whose input has `rank` dims: ones put in front or dims dropped, in it alone and in all alike."""
    if rank < 0:
        return
    for case in bases:
        item = case.inputs[index] if index < len(case.inputs) else None
        if not isinstance(item, Data | Parameter):
            continue

        yield _with_input(case, index, _shaped(item, rank))
        alike = [_shaped(one, rank) if isinstance(one, Data | Parameter) else one for one in case.inputs]
        yield replace(case, inputs=tuple(alike))


def _with_size(
    bases: list[Case], index: int, axis: int | None, size: int, *, alone: tuple[int, ...] | None = None
) -> Iterator[Case]:
    """Yield cases with `size` along an axis of an input, in it alone and in all inputs of the same size there.

    Args:
        bases: the cases to change.
        index: the input.
        axis: the axis; the last when None.
        size: its new size.
        alone: other axes that become 1, so that the product over all of them is `size`.
    """
    for case in bases:
        item = case.inputs[index] if index < len(case.inputs) else None
        place = -1 if axis is None else axis
        if size < 1 or size > LARGEST or not isinstance(item, Data) or not -len(item.shape) <= place < len(item.shape):
            continue
        ones = tuple(other % len(item.shape) for other in alone or ())

        yield _with_input(case, index, _sized(item, place, size, ones))
        alike = [
            _sized(one, place, size, ones) if isinstance(one, Data | Parameter) and one.shape == item.shape else one
            for one in case.inputs
        ]
        yield replace(case, inputs=tuple(alike))


def _shaped(item: Data | Parameter, rank: int) -> Data | Parameter:
    """Return the input with `rank` dims."""
    missing = rank - len(item.shape)
    return replace(item, shape=(1,) * missing + item.shape if missing >= 0 else item.shape[-missing:])


def _sized(item: Data | Parameter, axis: int, size: int, ones: tuple[int, ...]) -> Data | Parameter:
    """Return the input with `size` along `axis` and 1 along `ones`."""
    shape = [1 if position in ones else dim for position, dim in enumerate(item.shape)]
    shape[axis] = size
    return replace(item, shape=tuple(shape))
