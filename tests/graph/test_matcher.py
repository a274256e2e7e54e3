import pytest

from npuopt.graph import Anything, Constant, Either, Number, Op, match
from npuopt.graph.matcher import may_occur
from support.rewrites import model_from

X = Anything("x")
GATE = Op("Mul", X, Op("Sigmoid", X, name="gate"))


def last(text):
    return model_from(text).graph[-1]


@pytest.mark.parametrize("order", ["Mul(x, s)", "Mul(s, x)"])
def test_commutative_ops_match_in_any_order(order):
    found = match(GATE, last(f"(float[N] x) => (float[N] y) {{s = Sigmoid(x) y = {order}}}"))
    assert found is not None
    assert found.values["x"].name == "x"
    assert found.nodes["gate"].op_type == "Sigmoid"
    assert [node.op_type for node in found.interior] == ["Sigmoid"]
    assert not found.exposed()


def test_operands_of_other_ops_keep_their_places():
    pattern = Op("Sub", X, Op("Neg", X))
    assert match(pattern, last("(float[N] x) => (float[N] y) {n = Neg(x) y = Sub(x, n)}"))
    assert not match(pattern, last("(float[N] x) => (float[N] y) {n = Neg(x) y = Sub(n, x)}"))


def test_one_name_is_one_value():
    assert not match(GATE, last("(float[N] x, float[N] z) => (float[N] y) {s = Sigmoid(z) y = Mul(x, s)}"))


def test_a_sum_of_two_is_an_add():
    pattern = Op("Add", X, Op("Neg", X))
    assert match(pattern, last("(float[N] x) => (float[N] y) {n = Neg(x) y = Sum(n, x)}"))
    assert not match(pattern, last("(float[N] x) => (float[N] y) {n = Neg(x) y = Sum(n, x, x)}"))


def test_an_op_of_another_domain_is_another_op():
    text = """<ir_version: 12, opset_import: ["" : 24, "mine" : 1]>
        g (float[N] x) => (float[N] y) {s = mine.Sigmoid(x) y = Mul(x, s)}"""
    assert not match(GATE, last(text))


def test_numbers_are_matched_up_to_rounding_and_constants_by_being_known():
    pattern = Op("Mul", Op("Add", X, Number(0.1)), Constant("c"))
    text = "(float[2] x) => (float[2] y) <float[1] a = {0.1000001}, float[2] c = {1, 2}> {b = Add(a, x) y = Mul(b, c)}"
    found = match(pattern, last(text))
    assert found is not None
    assert found.values["c"].name == "c"
    assert not match(pattern, last(text.replace("0.1000001", "0.101")))
    assert not match(pattern, last(text.replace("[2] x", "[2] x, float[2] c").replace(", float[2] c = {1, 2}", "")))


def test_a_constant_that_a_caller_may_override_is_none():
    text = "(float[2] x, float a = {2}) => (float[2] y) {y = Mul(x, a)}"
    assert not match(Op("Mul", X, Constant("a")), last(text))


def test_attributes_and_left_out_operands_are_part_of_the_op():
    text = "(float[2, 3] x) => (float[2, 1] y) <int64[1] a = {1}> {y = ReduceMean<keepdims = 1>(x, a)}"
    node = last(text)
    assert match(Op("ReduceMean", X, Anything("axes"), keepdims=1), node)
    assert not match(Op("ReduceMean", X, Anything("axes"), keepdims=0), node)
    assert not match(Op("ReduceMean", X, Anything("axes"), keepdims=None), node)
    assert not match(Op("ReduceMean", X), node)
    clip = last("(float[2] x, float h) => (float[2] y) {y = Clip(x, , h)}")
    assert match(Op("Clip", X, None, Anything("high")), clip)
    assert not match(Op("Clip", X, Anything("low"), Anything("high")), clip)


def test_a_reading_with_nothing_exposed_is_preferred():
    text = """(float[N] x) => (float[N] y, float[N] p) {
        p = Neg(x) q = Neg(x) y = Add(p, q)
    }"""
    pattern = Op("Add", Anything("any"), Op("Neg", X, name="gone"))
    found = match(pattern, last(text))
    assert found is not None
    assert found.nodes["gone"].outputs[0].name == "q"
    assert not found.exposed()


@pytest.mark.parametrize(
    ("outputs", "extra", "says"),
    [
        ("float[N] y, float[N] s", "", "graph output"),
        ("float[N] y, float[N] z", "z = Neg(s)", "read elsewhere"),
        (
            "float[N] y, float[N] z",
            """z = If(c) <then_branch = t () => (float[N] p) {p = Neg(s)},
            else_branch = e () => (float[N] q) {q = Abs(x)}>""",
            "read elsewhere",
        ),
    ],
)
def test_exposed_says_who_sees_an_inner_value(outputs, extra, says):
    model = model_from(f"(float[N] x, bool c) => ({outputs}) {{s = Sigmoid(x) y = Mul(x, s) {extra}}}")
    found = match(GATE, model.graph[1])
    assert found is not None
    assert says in found.exposed()


def test_either_tries_its_options_in_turn():
    half = Either(Op("Mul", X, Number(0.5)), Op("Div", X, Number(2.0)))
    assert match(half, last("(float[N] x) => (float[N] y) <float two = {2}> {y = Div(x, two)}"))
    assert not match(half, last("(float[N] x) => (float[N] y) <float two = {2}> {y = Mul(x, two)}"))


def test_a_pattern_may_occur_where_there_is_an_op_for_each_of_its_ops():
    pattern = Op("Mul", X, Either(Op("Add", X, Op("Exp", X)), Op("Sigmoid", Either(Op("Neg", X), Number(1.0)))))
    assert may_occur(pattern, {"Mul", "Sum", "Exp"})
    assert may_occur(pattern, {"Mul", "Sigmoid"})
    assert not may_occur(pattern, {"Sigmoid", "Add", "Exp"})
    assert not may_occur(pattern, {"Mul", "Add"})


def test_the_first_of_several_choices_that_fits_is_taken_however_they_are_nested():
    pattern = Either(Either(Op("Neg", X, name="neg")), Op("Add", X, Either(Either(Op("Exp", X)), X, Op("Neg", X))))
    for text, inner in (("e = Exp(x) y = Add(x, e)", ["Exp"]), ("y = Add(x, x)", [])):
        found = match(pattern, last(f"(float[N] x) => (float[N] y) {{{text}}}"))
        assert found is not None
        assert [node.op_type for node in found.interior] == inner
    assert not match(pattern, last("(float[N] x) => (float[N] y) {e = Abs(x) y = Add(x, e)}"))
    assert match(pattern, last("(float[N] x) => (float[N] y) {y = Neg(x)}"))
