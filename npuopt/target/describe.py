"""What `npuopt targets show` prints and the docs pages are made of: a target as plain data and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from npuopt.target.constraints import Bounds, Condition, DimensionConstraint, PredicateConstraint, kind_of

if TYPE_CHECKING:
    from npuopt.target.schema import OpRule
    from npuopt.target.target import Target


def describe(target: Target) -> dict[str, Any]:
    """Return all that is known of a target as plain data; `ops` has one entry for each op, with sentences.

    Each op: `name`, `taken`, `refused` (why it is not taken), `schemes`, `data_types` (position -> types),
    `conditions` (sentences), `quantization`, `lower`, `stricter`, `notes`, `source`.
    """
    descriptor = target.descriptor
    return {
        "name": target.name,
        "title": target.title,
        "fingerprint": target.fingerprint,
        "delegate": target.delegate.model_dump(exclude_none=True),
        "shapes": target.shapes.model_dump(exclude_none=True),
        "memory": target.memory.model_dump(exclude_none=True),
        "performance": target.performance.model_dump(exclude_defaults=True),
        "notes": list(descriptor.notes),
        "source": descriptor.source,
        "schemes": {name: scheme.model_dump(exclude_none=True) for name, scheme in target.schemes.items()},
        "ops": [_op(name, target.ops[name]) for name in sorted(target.ops)],
    }


def _op(name: str, rule: OpRule) -> dict[str, Any]:
    sides = (("input", rule.dtypes.inputs), ("output", rule.dtypes.outputs))
    rank = [f"rank of input 0 is {_range(*rule.rank)}"] if rule.rank is not None else []
    return {
        "name": name,
        "taken": rule.refused is None,
        "schemes": list(rule.schemes),
        "data_types": {f"{side} {position}": list(types) for side, by in sides for position, types in by.items()},
        "refused": rule.refused,
        "conditions": [*rank, *map(sentence, rule.when)],
        "quantization": rule.quantization.model_dump(by_alias=True, exclude_defaults=True),
        "lower": list(rule.lower),
        "stricter": rule.stricter,
        "notes": rule.notes,
        "source": rule.source,
    }


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def sentence(condition: Condition) -> str:
    """Say what a condition asks: `attribute mode is one of nearest, linear, in a8w8, if rank of input 0 is ...`."""
    text = _ask(condition)
    if condition.schemes is not None:
        text += f", in {', '.join(condition.schemes)}"
    if condition.if_ is not None:
        text += f", if {sentence(condition.if_)}"
    return f"{text} ({condition.because})" if condition.because else text


def _ask(condition: Condition) -> str:
    kind = kind_of(condition) or ""
    subject = str(getattr(condition, kind))
    if isinstance(condition, PredicateConstraint):
        from npuopt.target.predicates import PREDICATES  # noqa: PLC0415 -- imports onnx-ir, and few need it

        lines = (PREDICATES[condition.predicate].__doc__ or condition.predicate).splitlines()
        return lines[0].rstrip(".")
    if isinstance(condition, Bounds):
        return f"{_subject(condition, kind, subject)} is {_bounds(condition)}"
    match kind:
        case "dtype":
            return f"type of {subject} is one of {', '.join(getattr(condition, 'one_of', ()))}"
        case "static":
            return f"every dimension of {subject} is known"
        case "constant":
            return f"{subject} is constant"
        case "variable":
            return f"{subject} is not constant"
        case "present":
            return f"{subject} is given"
        case _:
            return f"{subject} is left out"


def _subject(condition: Bounds, kind: str, subject: str) -> str:
    if isinstance(condition, DimensionConstraint):
        return f"dimension {'of' if condition.axis is None else f'{condition.axis} of'} {subject}"
    axes = getattr(condition, "axes", None)
    at = getattr(condition, "at", None)
    match kind:
        case "attribute":
            return f"attribute {subject}" if at is None else f"item {at} of attribute {subject}"
        case "value":
            return f"the value of {subject}"
        case "product":
            return (
                f"the product of {subject}" if axes is None else f"the product of dimensions {list(axes)} of {subject}"
            )
        case "count":
            return f"the number of {subject}"
        case "axis_from_end":
            return f"attribute {subject} counted from the end"
        case _:
            return f"{kind} of {subject}"


def _bounds(bounds: Bounds) -> str:
    words: list[str] = []
    if bounds.equal is not None:
        words.append(_value(bounds.equal))
    if bounds.one_of is not None:
        words.append(f"one of {', '.join(map(_value, bounds.one_of))}")
    if bounds.min is not None:
        words.append(f"at least {_value(bounds.min)}")
    if bounds.max is not None:
        words.append(f"at most {_value(bounds.max)}")
    if bounds.multiple_of is not None:
        words.append(f"a multiple of {bounds.multiple_of}")
    return " and ".join(words)


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, cast('tuple[object, ...]', value)))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
