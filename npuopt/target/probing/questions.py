"""Which questions to ask about a descriptor, each with the descriptor's own answer."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from npuopt.graph import infer_shapes, load, nodes
from npuopt.target.probing.bounds import bound_cases
from npuopt.target.probing.build import NODE, InvalidCaseError, Question, build
from npuopt.target.probing.case import Data, Parameter
from npuopt.target.probing.catalogue import cases_by_op
from npuopt.target.probing.quantize import Quantizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from npuopt.target.constraints import DataTypeName
    from npuopt.target.probing.bounds import BoundCase
    from npuopt.target.probing.case import Case
    from npuopt.target.schema import OpQuantization, OpRule, Scheme
    from npuopt.target.target import Target, Verdict

ASKED_ALONG = frozenset(("QuantizeLinear", "DequantizeLinear"))
"""Ops that every quantized question holds; alone they would be the graph's edge, which hosts keep."""
TYPED_CASES = 8
"""Cases of an op among which the one is looked for that other element types are tried on."""


@dataclass(frozen=True)
class Asked:
    """A question with the descriptor's answer to it."""

    question: Question
    expected: Verdict


def questions(target: Target, ops: Iterable[str] = ()) -> Iterator[Asked]:
    """Yield every question about a target: the catalogue's cases of every op, and those at and past its bounds.

    Args:
        target: whose descriptor is held against its compiler.
        ops: ask about these only; about all when empty.
    """
    wanted = set(ops)
    bounds = bound_cases(target)
    for name in sorted({*cases_by_op(), *target.ops} - ASKED_ALONG):
        if wanted and name not in wanted:
            continue
        cases = [*cases_by_op().get(name, ()), *_one_each(bounds.get(name, ()))]
        asked: set[tuple[str, str | None]] = set()
        for question in _of_op(target, target.ops.get(name), cases):
            if (question.label, question.scheme) not in asked:
                asked.add((question.label, question.scheme))
                yield Asked(question, verdict(target, question))


def _one_each(made: Iterable[BoundCase]) -> Iterator[Case]:
    """Yield the first valid case at each value of each bound."""
    seen: set[tuple[str, float | str]] = set()
    for one in made:
        if (one.about, one.value) not in seen and _try(one.case, None, None) is not None:
            seen.add((one.about, one.value))
            yield one.case


def verdict(target: Target, question: Question) -> Verdict:
    """Return the descriptor's answer to a question."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(question.model.SerializeToString())
        file.flush()
        model = load(Path(file.name))
    infer_shapes(model)
    node = next(node for node in nodes(model) if node.name == NODE)
    return target.accepts(node, question.scheme)


def _of_op(target: Target, rule: OpRule | None, cases: list[Case]) -> Iterator[Question]:
    taken = rule is not None and rule.refused is None
    for case in cases if taken else cases[:1]:
        yield from _valid(_of_case(target, rule, case))
    for case in cases[:TYPED_CASES] if taken else ():
        types = [dtype for dtype in case.allowed_types() if dtype != "float32"]
        if types and (others := list(_valid(_typed(target, case, types)))):
            yield from others
            return


def _valid(attempts: Iterator[Question | None]) -> Iterator[Question]:
    return (question for question in attempts if question is not None)


def _of_case(target: Target, rule: OpRule | None, case: Case) -> Iterator[Question | None]:
    """Ask a case as it is, and in each scheme that would quantize it."""
    if not case.has_float_data:
        yield _try(case, None, None)
        return
    if target.float_scheme is not None:
        yield _try(case, target.float_scheme, None)
    if rule is None or rule.refused is not None:
        if target.float_scheme is None:
            name, scheme = next(iter(target.schemes.items()))
            yield _try(case, name, Quantizer(name, scheme))
        return
    if rule.quantization.stays_float or not _is_float32(case):
        return
    for name, scheme in target.schemes.items():
        weighted = _has_weight(rule, case)
        if scheme.is_float or (_narrow(scheme.weight) and not weighted):
            continue
        yield _try(case, name, Quantizer(name, scheme, rule.quantization))
        for other in rule.quantization.weight_types.get(name, ()) if weighted else ():
            yield _with_weights(case, name, scheme, rule.quantization, other)


def _typed(target: Target, case: Case, types: list[str]) -> Iterator[Question | None]:
    for dtype in types:
        is_float = dtype.startswith("float")
        if not is_float or target.float_scheme is not None:
            yield _try(case.with_type(dtype), target.float_scheme if is_float else None, None, must_run=False)


def _with_weights(case: Case, name: str, scheme: Scheme, wants: OpQuantization, dtype: DataTypeName) -> Question | None:
    """Ask with another element type of the weights, which is signed: those are symmetric."""
    question = _try(
        case, name, Quantizer(name, scheme, wants.model_copy(update={"weight": dtype, "weight_symmetric": True}))
    )
    return None if question is None else replace(question, label=f"{case.label} with {dtype} weights")


def _try(case: Case, scheme: str | None, quantizer: Quantizer | None, *, must_run: bool = True) -> Question | None:
    try:
        return build(case, scheme, quantizer, must_run=must_run)
    except InvalidCaseError:
        return None


def _narrow(dtype: str | None) -> bool:
    return dtype is not None and dtype.endswith(("int4", "int2"))


def _is_float32(case: Case) -> bool:
    """Say whether a scheme can quantize the case: every float parameter is float32, and some input is."""
    return all(item.dtype == "float32" for item in case.inputs if isinstance(item, Parameter)) and any(
        item.dtype == "float32" for item in case.inputs if isinstance(item, Data | Parameter)
    )


def _has_weight(rule: OpRule, case: Case) -> bool:
    return any(
        index < len(case.inputs) and isinstance(case.inputs[index], Parameter) for index in rule.quantization.weights
    )
