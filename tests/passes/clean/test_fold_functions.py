import pytest
from onnx import helper

from npuopt.passes.clean.fold_functions import FoldFunctions
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import OPSET, Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "local": 1]>'
DOUBLE = '<domain: "local", opset_import: ["": 24]> Double (a) => (b) {b = Add(a, a)}'
FOUR = '<domain: "local", opset_import: ["": 24, "local": 1]> Four (a) => (c) {b = local.Double(a) c = local.Double(b)}'


def test_calls_become_bodies_down_to_the_last():
    report = assert_rewrites(
        FoldFunctions(),
        f"{HEADER} g (float[N] x) => (float[N] y, float[N] z) {{b = Neg(x) y = local.Four(b) z = local.Double(b)}}"
        f"{DOUBLE}{FOUR}",
        """(float[N] x) => (float[N] y, float[N] z) {
            b = Neg(x) c = Add(b, b) y = Add(c, c) z = Add(b, b)
        }""",
    )
    assert [entry.op_type for entry in report.changed] == ["Four", "Double"]


def test_attributes_of_the_call_reach_the_body():
    assert_rewrites(
        FoldFunctions(),
        f"""{HEADER} g (float[N, 3] x) => (float[N, 3] y) {{y = local.Along<axis = 0>(x)}}
        <domain: "local", opset_import: ["": 24]> Along <axis> (a) => (b) {{b = Softmax<axis: int = @axis>(a)}}""",
        "(float[N, 3] x) => (float[N, 3] y) {y = Softmax<axis = 0>(x)}",
    )


def test_a_function_that_nobody_calls_is_dropped():
    report = assert_rewrites(
        FoldFunctions(),
        f"{HEADER} g (float[N] x) => (float[N] y) {{y = Neg(x)}} {DOUBLE}",
        "(float[N] x) => (float[N] y) {y = Neg(x)}",
    )
    assert report.changed[0].text == "nobody calls it any more"


@pytest.mark.parametrize("inner", ["b", "b_1", "b_1_2", "Twice/b"])
def test_names_of_a_body_do_not_hide_those_of_a_branch(inner):
    """Found by fuzzing: the function makes a `b`, and so does a branch, which is in the graph behind the call."""
    function = '<domain: "local", opset_import: ["": 24]> Twice (a) => (c) {b = Neg(a) c = Add(b, b)}'
    branches = f"""then_branch = t () => (float[2] p) {{"{inner}" = Relu(d) p = Exp("{inner}")}},
        else_branch = e () => (float[2] q) <float[2] c = {{1, 2}}> {{q = Add(d, c)}}"""
    body = f"d = local.Twice(x) e = local.Twice(d) y = If(k) <{branches}> z = local.Twice(e)"
    text = f"{HEADER} g (float[2] x, bool k) => (float[2] y, float[2] z) {{{body}}} {function}"
    assert_rewrites(FoldFunctions(), text, None)


def test_names_of_a_branch_in_a_body_do_not_hide_those_of_the_graph():
    function = """<domain: "local", opset_import: ["": 24]> Chosen (k, a) => (c) {
        c = If(k) <then_branch = t () => (float[2] p) {b = Relu(a) p = Exp(b)},
                   else_branch = e () => (float[2] q) {b = Abs(a) q = Neg(b)}>
    }"""
    text = (
        f"{HEADER} g (float[2] x, bool k) => (float[2] y) {{b = Neg(x) c = local.Chosen(k, b) y = Abs(c)}} {function}"
    )
    assert_rewrites(FoldFunctions(), text, None)


@pytest.mark.parametrize(
    ("function", "because"),
    [
        (DOUBLE.replace("24", "17"), "it is written for version 17 of domain '', the model for 24"),
        (DOUBLE.replace("(b)", "(b, a)"), "it returns an input, or one value twice"),
    ],
)
def test_what_cannot_be_inlined_stays(function, because):
    call = "y = local.Double(x)" if "(b, a)" not in function else "y, z = local.Double(x)"
    assert_leaves(FoldFunctions(), f"{HEADER} g (float[N] x) => (float[N] y) {{{call}}} {function}", because=because)


def test_whatever_surrounds_a_call_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        body = [
            helper.make_node("Neg", ["a"], ["b"], name="n"),
            helper.make_node("Add", ["b", "a" if around.choose(True, False) else "b"], ["c"], name="m"),
        ]
        imports = [helper.make_opsetid("", OPSET)]
        around.functions.append(helper.make_function("local", "Twice", ["a"], ["c"], body, imports))
        value = around.op("Twice", around.input(2, 3), domain="local")
        around.op("Abs", around.op("Twice", value, domain="local"))

    check_surroundings(FoldFunctions(), build, least_hits=1.0, tolerance=0)
