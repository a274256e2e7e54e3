import numpy as np

from npuopt.passes.lower.lower_gemm import LowerGemm
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_a_constant_weight_is_transposed_at_once():
    assert_rewrites(
        LowerGemm(),
        """(float[N, 2] x) => (float[N, 3] y) <float[3, 2] w = {1, 2, 3, 4, 5, 6}, float[3] b = {1, 2, 3}> {
            y = Gemm<transB = 1, beta = 0.5>(x, w, b)
        }""",
        """(float[N, 2] x) => (float[N, 3] y)
        <float[2, 3] v = {1, 3, 5, 2, 4, 6}, float[3] c = {0.5, 1, 1.5}, float[3, 2] w = {1, 2, 3, 4, 5, 6},
         float[3] b = {1, 2, 3}> {p = MatMul(x, v) y = Add(p, c)}""",
    )


def test_runtime_operands_are_transposed_and_scaled_in_the_graph():
    signature = "(float[2, N] x, float[3, 2] w, float[N, 1] c) => (float[N, 3] y)"
    assert_rewrites(
        LowerGemm(),
        f"{signature} {{y = Gemm<alpha = 2.0, beta = 3.0, transA = 1, transB = 1>(x, w, c)}}",
        f"""{signature} <float two = {{2}}, float three = {{3}}> {{
            a = Transpose<perm = [1, 0]>(x) b = Transpose<perm = [1, 0]>(w) p = MatMul(a, b) q = Mul(p, two)
            d = Mul(c, three) y = Add(q, d)
        }}""",
    )


def test_leaves_integers_with_a_factor():
    text = "(int32[2, 2] x, int32[2, 3] w) => (int32[2, 3] y) {y = Gemm<alpha = 0.5>(x, w)}"
    assert_leaves(LowerGemm(), text, because="do not fit into INT32")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(2)
        trans_a, trans_b = around.choose(0, 1), around.choose(0, 1)
        x = around.op("Neg", around.input(*((4, 2) if trans_a else (2, 4))))
        weight = around.constant(generator.normal(size=(3, 4) if trans_b else (4, 3)).astype("f"))
        bias = around.constant(generator.normal(size=around.choose((), (1,), (3,), (2, 1), (2, 3))).astype("f"))
        factors = {"alpha": around.choose(1.0, 0.5), "beta": around.choose(1.0, -2.0)}
        around.op("Gemm", x, weight, bias, transA=trans_a, transB=trans_b, **factors)

    check_surroundings(LowerGemm(), build, least_hits=0.9)
