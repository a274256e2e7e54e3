import numpy as np
import onnx
from onnx import helper

from npuopt.passes.clean.fold_constant_if import FoldConstantIf
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

TEXT = """(float[2] x, bool r) => (float[2] y) <bool c = {CONDITION}> {
    a = Neg(x)
    y = If(c) <then_branch = t () => (float[2] p) <float[2] w = {1, 2}> {b = Add(a, w) p = Relu(b)},
               else_branch = e () => (float[2] q) {b = Abs(x) q = Exp(b)}>
}"""


def test_the_branch_that_is_taken_stands_in_its_place():
    report = assert_rewrites(
        FoldConstantIf(),
        TEXT.replace("CONDITION", "1"),
        """(float[2] x, bool r) => (float[2] y) <float[2] w = {1, 2}, bool c = {1}> {
            a = Neg(x) b = Add(a, w) y = Relu(b)
        }""",
    )
    assert report.changed[0].text == "its then_branch is always taken"
    assert_rewrites(
        FoldConstantIf(),
        TEXT.replace("CONDITION", "0"),
        "(float[2] x, bool r) => (float[2] y) <bool c = {0}> {b = Abs(x) y = Exp(b) a = Neg(x)}",
    )


def test_names_in_both_branches_and_nested_choices_do_not_clash():
    assert_rewrites(
        FoldConstantIf(),
        """(float[2] x, bool r) => (float[2] y, float[2] z) <bool yes = {1}, bool no = {0}> {
            y = If(yes) <then_branch = t () => (float[2] p) {
                b = Neg(x) p = If(no) <then_branch = tt () => (float[2] u) {u = Abs(b)},
                                       else_branch = te () => (float[2] v) {k = Exp(b) v = Neg(k)}>
            }, else_branch = e () => (float[2] q) {q = Exp(x)}>
            z = If(yes) <then_branch = t () => (float[2] p) {b = Relu(x) p = Add(b, y)},
                         else_branch = e () => (float[2] q) {q = Exp(x)}>
        }""",
        """(float[2] x, bool r) => (float[2] y, float[2] z) <bool yes = {1}, bool no = {0}> {
            b = Neg(x) k = Exp(b) y = Neg(k) c = Relu(x) z = Add(c, y)
        }""",
    )


def test_a_branch_that_returns_one_value_twice_still_makes_two_outputs():
    assert_rewrites(
        FoldConstantIf(),
        """(float[2] x, bool r) => (float[2] y, float[2] z) <bool yes = {1}> {
            y, z = If(yes) <then_branch = t () => (float[2] p, float[2] q) {p = Neg(x) q = Identity(p)},
                            else_branch = e () => (float[2] u, float[2] v) {u = Abs(x) v = Exp(x)}>
        }""",
        "(float[2] x, bool r) => (float[2] y, float[2] z) <bool yes = {1}> {y = Neg(x) z = Identity(y)}",
    )


def test_a_choice_at_run_time_stays():
    assert_leaves(FoldConstantIf(), TEXT.replace("CONDITION", "1").replace("If(c)", "If(r)"), because=None)


def test_a_choice_that_callers_can_override_stays():
    text = TEXT.replace("bool r)", "bool c)").replace("CONDITION", "1")
    assert_leaves(FoldConstantIf(), text, because=None)


def test_whatever_surrounds_a_choice_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2))
        condition = around.constant(np.array(around.choose(True, False)))
        branches = []
        for branch, op_type in (("then", "Relu"), ("else", "Exp")):
            result = onnx.ValueInfoProto(name="p")
            inner = [helper.make_node(op_type, [x], ["b"]), helper.make_node("Neg", ["b"], ["p"])]
            branches.append(helper.make_graph(inner, branch, [], [result]))
        around.op("Abs", around.op("If", condition, then_branch=branches[0], else_branch=branches[1]))

    check_surroundings(FoldConstantIf(), build, least_hits=0.4, tolerance=0)
