"""The processors' descriptors and the check before TVM agree, and name what TVM is asked for."""

from functools import cache

import onnx_ir as ir
import pytest

from npuopt.delegates.host.tvm_check import find_refusals
from npuopt.delegates.host.tvm_check_rules import RULES
from npuopt.delegates.host.tvm_delegate import processor_of
from npuopt.graph import infer_shapes
from npuopt.target import list_targets, load_target
from npuopt.target.probing.build import InvalidCaseError, build
from npuopt.target.probing.catalogue import cases_by_op

PROCESSORS = ("host/aarch64", "host/x86-64", "host/x86-64-v4")


@cache
def x86():
    return load_target("host/x86-64")


@pytest.mark.parametrize("name", PROCESSORS)
def test_every_processor_has_a_triple_and_a_name_of_llvm(name):
    assert name in list_targets()
    processor = processor_of(load_target(name))
    assert processor.triple.split("-")[2] == "linux"
    assert processor.cpu


def test_the_same_operators_are_listed():
    taken = {name for name, rule in x86().ops.items() if rule.refused is None}
    assert taken == set(RULES)


@pytest.mark.parametrize("op", sorted(cases_by_op()))
def test_what_the_descriptor_takes_the_check_lets_through(op):
    for case in cases_by_op()[op]:
        try:
            model = ir.from_proto(build(case, None).model)
        except InvalidCaseError:
            continue
        infer_shapes(model)
        if all(x86().accepts(node) for node in model.graph):
            assert find_refusals(model) == [], case.label
