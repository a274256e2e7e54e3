"""One node at each bound that is accepted, and one just past it that is refused."""

from functools import cache

import onnx_ir as ir
import pytest

from npuopt.graph import infer_shapes
from npuopt.target import list_targets, load_target
from npuopt.target.checks import compile_condition
from npuopt.target.constraints import kind_of
from npuopt.target.probing.bounds import bound_cases
from npuopt.target.probing.build import NODE, InvalidCaseError, build
from npuopt.target.probing.catalogue import cases_by_op
from support.descriptors import target_with


def node_of(case):
    model = ir.from_proto(build(case, None, must_run=False).model)
    infer_shapes(model)
    return next(node for node in model.graph if node.name == NODE)


def verdicts(target, op, about):
    """value -> whether a case made for this bound meets the condition it belongs to."""
    condition = target.ops[op].when[0]
    found = {}
    for made in bound_cases(target)[op]:
        if made.about != about:
            continue
        try:
            node = node_of(made.case)
        except InvalidCaseError:
            continue
        found.setdefault(made.value, not any(True for _ in compile_condition(condition)(node)))
    return found


@pytest.mark.parametrize(
    ("op", "condition", "about", "expected"),
    [
        ("Conv", "{attribute: strides, max: 3}", "when[0].max", {3: True, 4: False}),
        ("Conv", "{attribute: dilations, at: 0, max: 2}", "when[0].max", {2: True, 3: False}),
        ("Softmax", "{axis_from_end: axis, equal: -1}", "when[0].equal", {-2: False}),
        ("Relu", "{dimension: input 0, axis: -1, max: 7}", "when[0].max", {7: True, 8: False}),
        ("Relu", "{dimension: input 0, multiple_of: 4}", "when[0].multiple_of", {5: False}),
        ("Relu", "{product: input 0, axes: [-2, -1], max: 99}", "when[0].max", {99: True, 100: False}),
        ("Concat", "{count: inputs, max: 5}", "when[0].max", {5: True, 6: False}),
        ("Relu", "{rank: input 0, min: 2}", "when[0].min", {2: True, 1: False}),
        ("Pad", "{attribute: mode, one_of: [edge, wrap]}", "when[0].one_of", {}),
        ("Elu", "{attribute: alpha, min: 0.5}", "when[0].min", {0.5: True, -0.5: False}),
    ],
)
def test_cases_lie_at_and_just_past_the_bound(op, condition, about, expected):
    found = verdicts(target_with(f"{{{op}: {{schemes: [fp16], when: [{condition}]}}}}"), op, about)
    assert {value: found.get(value) for value in expected} == expected, found


def test_ranks():
    target = target_with("{Relu: {schemes: [fp16], rank: [2, 4]}}", shapes="{static: required, max_rank: 5}")
    taken = {made.value: bool(target.accepts(node_of(made.case))) for made in bound_cases(target)["Relu"]}
    assert {1: False, 2: True, 4: True, 5: False}.items() <= taken.items()


def test_a_rule_for_batches_of_one_is_asked_every_case_with_one():
    one = target_with("{Add: {schemes: [fp16], when: [{dimension: input 0, axis: 0, max: 1}]}}")
    any_batch = target_with("{Add: {schemes: [fp16]}}")
    made = {case.case.label for case in bound_cases(one)["Add"] if case.about == "batch"}
    assert {"Add(float32[1x3x4], float32[1x3x4])", "Add(float32[1x3], float32[1x3])"} <= made
    assert not any(case.about == "batch" for case in bound_cases(any_batch)["Add"])


def test_only_what_the_catalogue_does_not_have():
    made = [one.case.label for one in bound_cases(target_with("{Relu: {schemes: [fp16], rank: [0, 5]}}"))["Relu"]]
    catalogue = {case.label for case in cases_by_op()["Relu"]}
    assert made
    assert len(made) == len(set(made) - catalogue)


@cache
def bound_cases_of(name):
    return bound_cases(load_target(name))


OUT_OF_REACH = {
    ("QuantizeLinear", "constant"): "it stands around every quantized case and has none of its own",
    ("DequantizeLinear", "constant"): "it stands around every quantized case and has none of its own",
    ("Conv", "predicate"): "it is about quantized weights, and cases are in float",
    ("Conv", "product"): "weights of 65,536 products an output are too large for a case",
    ("ConvTranspose", "product"): "weights of 65,536 products an output are too large for a case",
    ("AveragePool", "lone-windows-read-to-the-end"): "no case has a lone window that does not; its own test has",
    ("MaxPool", "lone-windows-read-to-the-end"): "no case has a lone window that does not; its own test has",
    ("Gemm", "dimension"): "rows of 65,536 elements are too large for a case",
    ("MatMul", "dimension"): "rows of 65,536 elements are too large for a case",
    ("ConvTranspose", "predicate"): "no case has strides that differ; its own test has",
    ("Pow", "predicate"): "no case has an exponent of -0.5; its own test has",
    ("ReduceMean", "sums-of-16-bits-fit-in-32"): "no case sums that many elements; its own test does",
    ("ReduceSum", "sums-of-16-bits-fit-in-32"): "no case sums that many elements; its own test does",
    ("ReduceMean", "sums-of-signed-16-bits-fit-in-32"): "no case sums that many elements; its own test does",
    ("ReduceSum", "sums-of-signed-16-bits-fit-in-32"): "no case sums that many elements; its own test does",
    ("RMSNormalization", "dtype"): "neither ONNX nor ONNX Runtime can say what its float16 form gives",
}


@cache
def installed_conditions():
    """(op, condition as JSON) -> the condition and a target that has it; equal ones of several chips once."""
    found = {}
    for name in list_targets():
        target = load_target(name)
        for op, rule in target.ops.items():
            for condition in rule.when:
                if {(op, kind_of(condition)), (op, getattr(condition, "predicate", ""))} & OUT_OF_REACH.keys():
                    continue
                found.setdefault((op, condition.model_dump_json(by_alias=True)), (condition, target))
    return found


@pytest.mark.parametrize(("op", "text"), sorted(installed_conditions()))
def test_every_condition_of_every_descriptor_takes_one_node_and_refuses_another(op, text):
    condition, target = installed_conditions()[op, text]
    check = compile_condition(condition)
    cases = [*cases_by_op().get(op, ()), *(made.case for made in bound_cases_of(target.name)[op])]
    outcomes = set()
    for case in cases:
        try:
            outcomes.add(not any(True for _ in check(node_of(case))))
        except InvalidCaseError:
            continue
        if len(outcomes) == 2:
            return
    assert outcomes == {True, False}, (
        f"no case of {op} that the condition {'takes' if False in outcomes else 'refuses'}"
    )
