import pytest

from npuopt.passes.clean.fold_common_subexpressions import FoldCommonSubexpressions
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_equal_chains_become_one():
    assert_rewrites(
        FoldCommonSubexpressions(),
        """(float[N, 3] x) => (float[3, N] y) {
            a = Relu(x) b = Relu(x) c = Transpose<perm = [1, 0]>(a) d = Transpose<perm = [1, 0]>(b) y = Add(c, d)
        }""",
        "(float[N, 3] x) => (float[3, N] y) {a = Relu(x) c = Transpose<perm = [1, 0]>(a) y = Add(c, c)}",
    )


def test_a_graph_output_stands_for_both():
    assert_rewrites(
        FoldCommonSubexpressions(),
        "(float[N] x) => (float[N] y, float[N] z) {a = Relu(x) y = Relu(x) z = Neg(a)}",
        "(float[N] x) => (float[N] y, float[N] z) {y = Relu(x) z = Neg(y)}",
    )


def test_tensor_attributes_are_compared_by_value():
    text = """(int64[1] n) => (float[M] y) {
        a = ConstantOfShape<value = float[1] {A}>(n) b = ConstantOfShape<value = float[1] {B}>(n) y = Add(a, b)
    }"""
    equal = text.replace("A}", "2}").replace("B}", "2}")
    once = "(int64[1] n) => (float[M] y) {a = ConstantOfShape<value = float[1] {2}>(n) y = Add(a, a)}"
    assert_rewrites(FoldCommonSubexpressions(), equal, once, ranges={"n": (1, 4)})
    zeros = text.replace("A}", "0.0}").replace("B}", "-0.0}")
    assert_leaves(FoldCommonSubexpressions(), zeros, because=None)


def test_equal_nodes_of_one_branch_become_one():
    text = """(bool c, float[N] x) => (float[N] y) {
        y = If(c) <then_branch = t () => (float[N] p) {THEN}, else_branch = e () => (float[N] q) {q = Abs(x)}>
    }"""
    before, after = "a = Neg(x) b = Neg(x) p = Add(a, b)", "a = Neg(x) p = Add(a, a)"
    assert_rewrites(FoldCommonSubexpressions(), text.replace("THEN", before), text.replace("THEN", after))


@pytest.mark.parametrize(
    ("body", "because"),
    [
        ("y = Relu(x) z = Relu(x)", "are both graph outputs"),
        ("y = RandomNormalLike(x) z = RandomNormalLike(x)", None),
        ("y = RandomUniformLike<seed = 1.0>(x) z = RandomUniformLike<seed = 1.0>(x)", None),
        ("y = Bernoulli(x) z = Bernoulli(x)", None),
        ("y = Dropout(x, half, on) z = Dropout(x, half, on)", None),
        ("y = Transpose<perm = [0, 1]>(x) z = Transpose<perm = [1, 0]>(x)", None),
        ("y = Sub(x, w) z = Sub(w, x)", None),
        ("y = Clip(x, half) z = Clip(x, , half)", None),
    ],
)
def test_what_may_differ_stays_apart(body, because):
    text = f"""(float[2, 2] x, float[2, 2] w) => (float[2, 2] y, float[2, 2] z) <float half = {{0.5}}, bool on = {{1}}>
        {{{body}}}"""
    assert_leaves(FoldCommonSubexpressions(), text, because=because)


NORMALIZED = """(float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) <
        float[2, 2, 1, 1] w = {1, 2, 3, 4}, float[2] one = {1, 1}, float[2] two = {2, 2}> {
        a = Conv(x, w) b = Conv(x, w)
        p = BatchNormalization(a, one, two, one, two) q = BatchNormalization(b, PARAMETERS) y = Add(p, q)
    }"""


def test_equal_convolutions_with_equal_normalizations_become_one():
    once = NORMALIZED.replace("b = Conv(x, w)", "").replace("q = BatchNormalization(b, PARAMETERS)", "")
    assert_rewrites(
        FoldCommonSubexpressions(),
        NORMALIZED.replace("PARAMETERS", "one, two, one, two"),
        once.replace("Add(p, q)", "Add(p, p)"),
    )


def test_convolutions_that_take_in_normalizations_of_their_own_stay_apart():
    text = NORMALIZED.replace("PARAMETERS", "two, one, one, two")
    assert_leaves(FoldCommonSubexpressions(), text, because="the BatchNormalization behind it is not that of")
    seen = text.replace("y = Add(p, q)", "r = Add(p, q) y = Add(r, a)")  # a cannot take in anything anyway
    assert_rewrites(FoldCommonSubexpressions(), seen, seen.replace("b = Conv(x, w)", "").replace("(b,", "(a,"))


def test_an_op_of_another_domain_is_not_trusted_to_repeat_itself():
    text = """<ir_version: 12, opset_import: ["": 24, "com.example": 1]>
    g (float[N] x) => (float[N] y) {a = com.example.Noise(x) b = com.example.Noise(x) y = Add(a, b)}"""
    assert_leaves(FoldCommonSubexpressions(), text, because=None)


def test_whatever_surrounds_equal_nodes_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        x, other = around.input(2, 3), around.input(2, 3)
        op = around.choose("Add", "Sub", "Mul")
        left = around.op(op, x, other)
        right = around.op(op, x, other) if around.choose(True, True, False) else around.op(op, other, x)
        around.op("Add", around.op("Neg", left), around.op("Neg", right))

    check_surroundings(FoldCommonSubexpressions(), build, least_hits=0.5, tolerance=0)
