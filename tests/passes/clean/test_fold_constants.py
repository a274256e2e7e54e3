import numpy as np
import onnx_ir as ir
import pytest

from npuopt.graph import constant, nodes
from npuopt.passes.clean.fold_constants import FoldConstants
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings


def test_a_chain_of_constants_becomes_one():
    assert_rewrites(
        FoldConstants(),
        """(float[N, 2] x) => (float[N, 3] y) <float[3, 2] w = {1, 2, 3, 4, 5, 6}, float two = {2}> {
            t = Transpose<perm = [1, 0]>(w) scaled = Mul(t, two) y = MatMul(x, scaled)
        }""",
        "(float[N, 2] x) => (float[N, 3] y) <float[2, 3] c = {2, 6, 10, 4, 8, 12}> {y = MatMul(x, c)}",
    )


def test_constant_nodes_become_initializers():
    report = assert_rewrites(
        FoldConstants(),
        "(float[N] x) => (float[N] y) {c = Constant<value_float = 2.5>() y = Mul(x, c)}",
        "(float[N] x) => (float[N] y) <float c = {2.5}> {y = Mul(x, c)}",
    )
    assert report.changed[0].text == "is float32 [] at compile time"


def test_what_depends_on_a_size_that_is_folded_first_is_folded_too():
    assert_rewrites(
        FoldConstants(),
        """(float[N] x) => (float[M] y) <int64[2] a = {1, 0}, int64[2] b = {2, 3}, int64 zero = {0}, int64 one = {1}> {
            where = NonZero(a) first = Squeeze(where) s = Add(first, b) n = Gather(s, zero)
            r = Range(zero, n, one) f = Cast<to = 1>(r) y = Concat<axis = 0>(x, f)
        }""",
        "(float[N] x) => (float[M] y) <float[2] c = {0, 1}> {y = Concat<axis = 0>(x, c)}",
        dims={"N": 3},
    )


def test_integers_divide_as_at_run_time():
    assert_rewrites(
        FoldConstants(),
        """(int64[N, 4] x) => (int64[N, 4] y) <int64[4] a = {-7, 7, -7, 7}, int64[4] b = {2, -2, -2, 2}> {
            q = Div(a, b) y = Add(x, q)
        }""",
        "(int64[N, 4] x) => (int64[N, 4] y) <int64[4] q = {-3, -3, 3, 3}> {y = Add(x, q)}",
    )


def test_narrowing_casts_wrap_as_at_run_time():
    assert_rewrites(
        FoldConstants(),
        """(int8[N, 3] x) => (int8[N, 3] y) <int64[3] a = {300, -129, 127}> {
            narrow = Cast<to = 3>(a) y = Mul(x, narrow)
        }""",
        "(int8[N, 3] x) => (int8[N, 3] y) <int8[3] narrow = {44, 127, 127}> {y = Mul(x, narrow)}",
        seeds=(),  # ONNX Runtime has no Mul for int8
    )


def test_special_floats_and_empty_tensors_survive():
    text = """(float[N, 3] x) => (float[N, 3] y, float[0, 3] z) <float[3] a = {1, -1, 0}, float zero = {0},
        float minus = {-0.0}, float[0, 3] empty = {}> {
        q = Div(a, zero) r = Mul(a, minus) s = Add(q, r) y = Max(x, s) e = Neg(empty) z = Identity(e)
    }"""
    report = assert_rewrites(FoldConstants(), text, None, tolerance=0)
    assert len(report.changed) == 2


def test_a_graph_output_and_a_branch_may_be_constants():
    assert_rewrites(
        FoldConstants(),
        """(bool c, float[2] x) => (float[2] y, float[2] z) <float[2] a = {1, 2}> {
            z = Neg(a)
            y = If(c) <then_branch = t () => (float[2] p) {p = Abs(z)},
                       else_branch = e () => (float[2] q) {b = Neg(a) q = Add(x, b)}>
        }""",
        """(bool c, float[2] x) => (float[2] y, float[2] z) <float[2] n = {-1, -2}> {
            z = Identity(n)
            y = If(c) <then_branch = t () => (float[2] p) <float[2] m = {1, 2}> {p = Identity(m)},
                       else_branch = e () => (float[2] q) <float[2] k = {-1, -2}> {q = Add(x, k)}>
        }""",
    )


BRANCHES = """c = If(on) <then_branch = t () => (float[2] p) {p = Neg(x)},
                            else_branch = e () => (float[2] r) {r = Abs(x)}>"""


@pytest.mark.parametrize(
    ("node", "because"),
    [
        ("c = RandomNormal<shape = [2]>()", "it is random"),
        ("c = RandomUniformLike(a)", "it is random"),
        ("c = Bernoulli(a)", "it is random"),
        ("c = Dropout(a, half, on)", "it is random"),
        ("c = DequantizeLinear(q, half)", "undo the quantization"),
        ("c = Neg(default)", None),
        (BRANCHES, "it is control flow"),
        ("s = SequenceConstruct(a) l = SequenceLength(s) f = Cast<to = 1>(l) c = Add(f, x)", "its result is no tensor"),
        ("s = StringConcat(word, word) e = Equal(s, word) f = Cast<to = 1>(e) c = Add(f, x)", "it is about text"),
    ],
)
def test_what_is_not_a_constant_stays(node, because):
    text = f"""(float[2] x, float[2] default) => (float[2] y) <float[2] a = {{0.25, 0.5}}, float half = {{0.5}},
        bool on = {{1}}, uint8[2] q = {{1, 2}}, string[1] word = {{"a"}},
        float[2] default = {{1, 2}}> {{{node} y = Add(x, c)}}"""
    assert_leaves(FoldConstants(), text, because=because)


GROWS = """(float[1000, 1000] x) => (float[1000, 1000] y) <int64[2] s = {1000, 1000}, float[1] one = {1}> {
    c = Expand(one, s) d = Neg(c) y = Add(x, d)
}"""


def test_a_result_that_grows_the_model_too_much_is_left_at_run_time():
    report = assert_leaves(FoldConstants(growth_mib=3.8), GROWS, because="would add 3.8 MiB to the model")
    assert [entry.op_type for entry in report.declined] == ["Neg", "Expand"]
    assert_rewrites(FoldConstants(growth_mib=4), GROWS, None, seeds=())


def test_a_large_intermediate_on_the_way_to_a_small_result_is_no_growth():
    text = GROWS.replace("d = Neg(c)", "d = ReduceSum<keepdims = 0>(c)")
    model = model_from(text)
    assert FoldConstants(growth_mib=0.1)(model).changed
    assert [node.op_type for node in nodes(model)] == ["Add"]
    assert constant(nodes(model)[0].inputs[1]) == 1_000_000


def test_a_value_may_be_as_large_as_the_growth_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npuopt.passes.clean.constant_waves.WORKING_BYTES", 1 << 20)
    assert_leaves(FoldConstants(growth_mib=0.5), GROWS, because="its result would have 3.8 MiB")
    assert_rewrites(FoldConstants(growth_mib=4), GROWS, None, seeds=())


def test_a_hostile_size_is_not_even_tried():
    text = (
        "(float[N] x) => (float[M] y) <int64[1] s = {1000000000000}> {c = ConstantOfShape(s) y = Concat<axis=0>(x, c)}"
    )
    assert_leaves(FoldConstants(), text, because="its result would have 3814697.3 MiB")


def weight_read_by(*nodes_text: str) -> ir.Model:
    outputs = ", ".join(f"float[4, 1024] y{i}" for i in range(len(nodes_text)))
    model = model_from(f"(float[4, 1024] x, float[1024, 1024] w) => ({outputs}) {{{' '.join(nodes_text)}}}")
    weight = model.graph.inputs.pop()
    weight.const_value = ir.tensor(np.eye(1024, dtype=np.float32), name="w")
    model.graph.register_initializer(weight)
    return model


def test_a_weight_that_is_replaced_is_no_growth_but_a_second_copy_is():
    product = "t = Transpose(w) y0 = MatMul(x, t)"
    assert_rewrites(FoldConstants(growth_mib=1), weight_read_by(product), None, seeds=())
    tied = weight_read_by(product, "y1 = MatMul(x, w)")
    assert_leaves(FoldConstants(growth_mib=1), tied, because="would add 4.0 MiB")


def test_types_that_onnx_runtime_lacks_are_computed_by_the_reference():
    text = """(bfloat16[N, 2] x) => (bfloat16[N, 2] y) <float[2] a = {1.5, 2.5}> {
        b = Cast<to = 16>(a) c = Neg(b) y = Add(x, c)
    }"""
    model = model_from(text)
    report = FoldConstants()(model)
    assert len(report.changed) == 1
    assert constant(nodes(model)[0].inputs[1]).astype(np.float32).tolist() == [-1.5, -2.5]


def test_what_nothing_can_run_is_declined_and_the_rest_is_folded():
    text = """(float[N, 2] x) => (float[N, 2] y) <float[2] a = {1, 2}, int64[1] far = {7}> {
        b = Neg(a) c = Gather(a, far) d = Add(b, c) e = Abs(b) f = Add(x, d) y = Add(f, e)
    }"""
    model = model_from(text)
    report = FoldConstants()(model)
    assert [entry.op_type for entry in report.changed] == ["Abs", "Neg"]
    assert "neither ONNX Runtime nor the reference" in report.declined[0].text


def test_whatever_surrounds_constant_arithmetic_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        edge = around.choose(0.0, -0.0, np.inf, np.nan, 1e-40)
        a = around.constant(np.array([[1, -2, edge]], np.float32))
        b = around.constant(np.array([[edge], [3]], np.float32))
        value = around.op(around.choose("Add", "Mul", "Div", "Max"), a, b)
        value = around.op(around.choose("Neg", "Relu", "Exp", "Transpose", "Identity"), value)
        if around.choose(True, False):
            around.op("Neg", value)

    check_surroundings(FoldConstants(), build, examples=40, tolerance=0)
