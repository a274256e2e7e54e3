"""A choice between a branch that takes a cache and one that does not."""

import pytest

from npuopt.errors import InputError
from npuopt.graph import nodes, parse
from npuopt.road.branches import take_branch

TEXT = """<ir_version: 10, opset_import: ["" : 18]>
g (float[1,N] x, bool[1] use_cache, float[1,2,P,4] past) => (float[1,N] y, float[1,2,P,4] present) {{
  shape = Constant<value_ints = [1]>()
  now = Reshape(use_cache, shape)
  y, present = If(now) <then_branch = a () => (float[1,N] p, float[1,2,P,4] q) {{ {first} }},
                        else_branch = b () => (float[1,N] r, float[1,2,P,4] s) {{ {second} }}>
}}"""
WITH = "{0} = Abs(x) {1} = Neg(past)"
WITHOUT = "{0} = Neg(x) t{0} = Constant<value_ints = [1, 1, 1, 1]>() {1} = ConstantOfShape(t{0})"


def model(first, second):
    return parse(TEXT.format(first=first.format("p", "q"), second=second.format("r", "s")))


@pytest.mark.parametrize(("first", "second"), [(WITH, WITHOUT), (WITHOUT, WITH)])
def test_the_branch_without_a_cache_is_taken(first, second):
    found = model(first, second)
    take_branch(found)
    assert not nodes(found, "If")
    assert [node.op_type for node in nodes(found, "Neg")] == ["Neg"]
    assert not nodes(found, "Abs")
    assert [value.name for value in found.graph.inputs] == ["x"]
    assert [value.name for value in found.graph.outputs] == ["y"]


@pytest.mark.parametrize(("branch", "why"), [(WITH, "both its branches take"), (WITHOUT, "neither of its branches")])
def test_branches_that_cannot_be_told_apart_are_named(branch, why):
    with pytest.raises(InputError, match=why):
        take_branch(model(branch, branch))


def test_a_model_without_a_switch_stays():
    text = """<ir_version: 10, opset_import: ["" : 18]>
    g (float[1,N] x, float[1,2,P,4] past) => (float[1,N] y, float[1,2,P,4] present)
    { y = Neg(x) present = Abs(past) }"""
    found = parse(text)
    take_branch(found)
    assert [value.name for value in found.graph.inputs] == ["x", "past"]
    assert [value.name for value in found.graph.outputs] == ["y", "present"]
