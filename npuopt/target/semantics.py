"""What a schema cannot say: names that must exist elsewhere in the descriptor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.target.constraints import PredicateConstraint
from npuopt.target.diagnostics import did_you_mean
from npuopt.target.positions import Document, Path_, Problem, dotted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from npuopt.target.constraints import Condition
    from npuopt.target.schema import Descriptor, OpRule


def semantic_problems(descriptor: Descriptor, document: Document, removed_schemes: AbstractSet[str]) -> list[Problem]:
    """List scheme and predicate names that are not defined."""
    known = {*descriptor.schemes, *removed_schemes}
    problems: list[Problem] = []
    for op_name, rule in descriptor.ops.items():
        for path, scheme, at_key in _schemes_named(rule):
            if scheme not in known:
                place: Path_ = ("ops", op_name, *path)
                text = f"no scheme {scheme!r}{did_you_mean(scheme, descriptor.schemes)}"
                problems.append(Problem(document.position(place, key=at_key), dotted(place), text))
        for path, condition in conditions(rule):
            if isinstance(condition, PredicateConstraint) and (text := _unknown_predicate(condition.predicate)):
                place = ("ops", op_name, *path, "predicate")
                problems.append(Problem(document.position(place), dotted(place), text))
    return problems


def conditions(rule: OpRule) -> Iterator[tuple[Path_, Condition]]:
    """Yield every condition of a rule with its path below the op, those under `if` included."""
    for index, condition in enumerate(rule.when):
        path: Path_ = ("when", index)
        inner: Condition | None = condition
        while inner is not None:
            yield path, inner
            path, inner = (*path, "if"), inner.if_


def _schemes_named(rule: OpRule) -> Iterator[tuple[Path_, str, bool]]:
    yield from _items(("schemes",), rule.schemes)
    for path, condition in conditions(rule):
        yield from _items((*path, "schemes"), condition.schemes or ())
    for scheme in rule.quantization.activation:
        yield ("quantization", "activation", scheme), scheme, True
    for position, by_scheme in rule.quantization.inputs.items():
        for scheme in by_scheme:
            yield ("quantization", "inputs", position, scheme), scheme, True
    for scheme in rule.quantization.weight_types:
        yield ("quantization", "weight_types", scheme), scheme, True
    for scheme in rule.quantization.output:
        yield ("quantization", "output", scheme), scheme, True


def _items(path: Path_, names: Iterable[str]) -> Iterator[tuple[Path_, str, bool]]:
    for index, name in enumerate(names):
        yield (*path, index), name, False


def _unknown_predicate(name: str) -> str:
    from npuopt.target.predicates import PREDICATES  # noqa: PLC0415 -- imports onnx-ir, and few descriptors need it

    return "" if name in PREDICATES else f"no predicate {name!r}{did_you_mean(name, PREDICATES)}"
