"""Tests made from what lies in targets/: every descriptor, every op, every rank, every element type in it.

Bounds in `when` have theirs in tests/target/test_bounds.py.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import onnx_ir as ir
import pytest

from npuopt.delegates.registry import find_delegate
from npuopt.graph import infer_shapes, input_at, is_constant, rank
from npuopt.pipeline import Lowering
from npuopt.pipeline.catalogue import catalogue
from npuopt.target import list_targets, load_target
from npuopt.target.lint import lint
from npuopt.target.probing.bounds import bound_cases
from npuopt.target.probing.build import NODE, InvalidCaseError, build
from npuopt.target.probing.catalogue import cases_by_op
from npuopt.target.views import type_name
from support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Node
    from npuopt.target import OpRule, Target
    from npuopt.target.probing.case import Case

TARGETS = list_targets()
FILES = sorted(path.relative_to(ROOT / "targets").as_posix() for path in (ROOT / "targets").rglob("*.yaml"))
FLOAT_BY_NATURE = ("OneHot", "QuantizeLinear", "DequantizeLinear")
"""Ops with float data that is not at a run-time input."""

every_target = pytest.mark.parametrize("name", TARGETS)

target_of = cache(load_target)
bounds_of = cache(lambda name: bound_cases(target_of(name)))


def test_there_are_targets() -> None:
    assert {"qualcomm/sm8750", "host/x86-64"} <= set(TARGETS)


@pytest.mark.parametrize("file", FILES)
def test_lints_clean(file: str) -> None:
    problems = lint(ROOT / "targets" / file, lowerings=set(catalogue()))
    assert not problems, "\n".join(map(str, problems))


@every_target
def test_is_called_like_its_file_and_has_a_road(name: str) -> None:
    target = target_of(name)
    assert target.name == name
    assert f"{name}.yaml" in FILES
    assert find_delegate(target.delegate.road).road == target.delegate.road


@every_target
def test_lowerings_exist_and_lower_that_op(name: str) -> None:
    for op, rule in target_of(name).ops.items():
        for lowering in rule.lower:
            found = catalogue()[lowering]
            assert issubclass(found, Lowering), f"{op}: {lowering} is no lowering"
            assert op in found.op_types, f"{op}: {lowering} lowers {', '.join(found.op_types)}"


@every_target
def test_every_op_has_a_node_that_is_taken(name: str) -> None:
    target = target_of(name)
    missing = []
    for op, rule in target.ops.items():
        cases = cases_by_op().get(op, ())
        if rule.schemes == () and all(case.has_float_data or op in FLOAT_BY_NATURE for case in cases):
            continue  # computed in float only, which this chip of the family has not
        if any(getattr(condition, "predicate", "") == "exponent-is-minus-a-half" for condition in rule.when):
            continue  # one number of all; tests/target/test_predicates.py has it
        if rule.refused is None and cases and not any(_taken(target, op, rule)):
            missing.append(op)
    assert not missing, f"{name} takes none of the catalogue's nodes of {missing}"


@every_target
def test_every_refused_op_is_refused_with_its_reason(name: str) -> None:
    target = target_of(name)
    for op, rule in target.ops.items():
        for node in _nodes(cases_by_op().get(op, ())[:1]) if rule.refused is not None else ():
            assert any(rule.refused in reason for reason in target.accepts(node).reasons), op


@every_target
def test_ops_that_are_not_listed_are_refused(name: str) -> None:
    target = target_of(name)
    for op, cases in cases_by_op().items():
        for node in _nodes(cases[:1]) if op not in target.ops else ():
            assert "is not among the ops that" in target.accepts(node).reasons[0]


@every_target
def test_ranks_are_kept(name: str) -> None:
    """At each end of an op's ranks a node is not refused for its rank, and one past it is."""
    target = target_of(name)
    for op, rule in target.ops.items():
        if rule.rank is None or rule.refused is not None:
            continue
        low, high = rule.rank
        said = re.compile(rf"^rank of input 0\b.* is \d+; .* is taken from {low} to {high}$")  # `when` may say more
        cases = [*cases_by_op().get(op, ()), *(made.case for made in bounds_of(name).get(op, ()))]
        verdicts: dict[int, set[bool]] = {}
        for node in _nodes(cases):
            value = input_at(node, 0)
            given = None if is_constant(value) else rank(value)  # what is constant may have any rank
            if given is not None:
                refused = any(said.match(reason) for reason in target.accepts(node).reasons)
                verdicts.setdefault(given, set()).add(refused)
        wrong = {given: found for given, found in verdicts.items() if found != {not low <= given <= high}}
        assert not wrong, f"{op}, ranks {low} to {high}: refused by rank {wrong}"
        assert verdicts.keys() & set(range(low, high + 1)), f"{op}: no case has a rank from {low} to {high}"


@every_target
def test_element_types_are_kept(name: str) -> None:
    """Types listed for input 0 are not refused there, others are."""
    target = target_of(name)
    said = re.compile(r"^type of input 0\b.* is (\w+);")
    for op, rule in target.ops.items():
        listed = rule.dtypes.inputs.get(0, rule.dtypes.inputs.get("all"))
        if not listed or rule.refused is not None:
            continue
        case = next((one for one in cases_by_op().get(op, ()) if one.allowed_types()), None)
        for node in _nodes([case.with_type(dtype) for dtype in case.allowed_types()] if case is not None else []):
            dtype = type_name(node.inputs[0])
            if dtype is not None and not dtype.startswith("float"):
                refused = any(said.match(reason) for reason in target.accepts(node).reasons)
                assert refused == (dtype not in listed), f"{op} with {dtype}: listed are {listed}"


def _taken(target: Target, op: str, rule: OpRule) -> Iterator[bool]:
    cases = [*cases_by_op()[op], *(made.case for made in bounds_of(target.name).get(op, ()))]
    typed = [case.with_type(dtype) for case in cases[:4] for dtype in case.allowed_types()]
    for node in _nodes([*cases, *typed]):
        yield any(target.accepts(node, scheme) for scheme in (None, *rule.schemes))


def _nodes(cases: Iterator[Case] | list[Case] | tuple[Case, ...]) -> Iterator[Node]:
    """Yield a node for each case that ONNX allows, with types and shapes; those of equal cases are made once."""
    for case in cases:
        if case.label not in _MADE:
            try:
                model = ir.from_proto(build(case, None).model)
                infer_shapes(model)
                _MADE[case.label] = next(node for node in model.graph if node.name == NODE)
            except InvalidCaseError:
                _MADE[case.label] = None
        node = _MADE[case.label]
        if node is not None:
            yield node


_MADE: dict[str, Node | None] = {}
