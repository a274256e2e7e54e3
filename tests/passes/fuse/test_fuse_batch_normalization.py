import numpy as np
import pytest

from npuopt.passes.fuse.fuse_batch_normalization import FuseBatchNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BATCH = "float[2] s = {2, 3}, float[2] b = {1, -1}, float[2] m = {0.5, 4}, float[2] v = {3, 15}"
CONV = f"<float[2, 1, 1, 1] w = {{1, 2}}, float[2] c = {{5, 6}}, {BATCH}>"
SIGNATURE = "(float[N, 1, 3, 3] x) => (float[N, 2, 3, 3] y)"
BEFORE = f"{SIGNATURE} {CONV} {{a = Conv(x, w, c) y = BatchNormalization<epsilon = 1.0>(a, s, b, m, v)}}"


def test_goes_into_the_weights_and_the_bias():
    after = f"""{SIGNATURE} {CONV[:-1]}, float[2, 1, 1, 1] w2 = {{1, 1.5}}, float[2] c2 = {{5.5, 0.5}}>
        {{y = Conv(x, w2, c2)}}"""
    assert_rewrites(FuseBatchNormalization(), BEFORE, after)


def test_a_conv_without_bias_gets_one():
    before = BEFORE.replace("Conv(x, w, c)", "Conv(x, w)")
    after = f"""{SIGNATURE} {CONV[:-1]}, float[2, 1, 1, 1] w2 = {{1, 1.5}}, float[2] c2 = {{0.5, -4}}>
        {{y = Conv(x, w2, c2)}}"""
    assert_rewrites(FuseBatchNormalization(), before, after)


def test_a_grouped_transposed_convolution():
    weight = ", ".join(str(i) for i in range(16))
    text = f"""(float[N, 4, 3] x) => (float[N, 2, 4] y) <float[4, 1, 4] w = {{{weight}}}, {BATCH}> {{
        a = ConvTranspose<group = 2, pads = [1, 1]>(x, w) y = BatchNormalization(a, s, b, m, v)
    }}"""
    assert_rewrites(FuseBatchNormalization(), text, None)


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_gemm_with_factors(transposed):
    shape = "[2, 3]" if transposed else "[3, 2]"
    text = f"""(float[N, 3] x) => (float[N, 2] y)
        <float{shape} w = {{1, 2, 3, 4, 5, 6}}, float[1, 2] c = {{1, 2}}, {BATCH}> {{
        a = Gemm<alpha = 0.5, beta = 2.0, transB = {transposed}>(x, w, c) y = BatchNormalization(a, s, b, m, v)
    }}"""
    assert_rewrites(FuseBatchNormalization(), text, None)


PRODUCT = f"""(float[N, 3] x) => (float[N, 2] y) <float[3, 2] w = {{1, 2, 3, 4, 5, 6}}, {BATCH}> {{
    a = MatMul(x, w) y = BatchNormalization<epsilon = 1.0>(a, s, b, m, v)
}}"""


def test_a_product_of_two_matrices_becomes_gemm():
    after = f"""(float[N, 3] x) => (float[N, 2] y) <float[3, 2] w = {{1, 2, 3, 4, 5, 6}}, {BATCH},
        float[3, 2] w2 = {{1, 1.5, 3, 3, 5, 4.5}}, float[2] c2 = {{0.5, -4}}> {{y = Gemm(x, w2, c2)}}"""
    assert_rewrites(FuseBatchNormalization(), PRODUCT, after)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (PRODUCT.replace("[N, 3] x", "[N, 2, 3] x").replace("[N, 2] y", "[N, 2, 2] y"), "not of two matrices"),
        (BEFORE.replace("3, 3] y", "3, 3] y, float[N, 2, 3, 3] a"), "'a' of Conv is a graph output or read elsewhere"),
        (
            BEFORE.replace("y = Batch", "z = Neg(a) y = Batch").replace("3, 3] y", "3, 3] y, float[N, 2, 3, 3] z"),
            "read elsewhere",
        ),
        (BEFORE.replace("3, 3] x", "3, 3] x, float[2] v").replace(", float[2] v = {3, 15}", ""), "not all constant"),
        (
            BEFORE.replace("3, 3] x", "3, 3] x, float[2, 1, 1, 1] w").replace("float[2, 1, 1, 1] w = {1, 2}, ", ""),
            "weight 'w' is not constant",
        ),
        (
            BEFORE.replace("3, 3] x", "3, 3] x, float[2] c").replace("float[2] c = {5, 6}, ", ""),
            "bias 'c' is not constant",
        ),
        (BEFORE.replace("epsilon = 1.0", "training_mode = 1").replace("y = B", "y, p, q = B"), "training mode"),
        (BEFORE.replace("float[2] s = {2, 3}", "float[2] s = {3e38, 3}").replace("{1, 2}", "{9, 2}"), "not be finite"),
        (BEFORE.replace("Conv(x, w, c)", "Concat<axis = 1>(x, x)"), None),
    ],
)
def test_leaves_what_cannot_be_folded(text, because):
    assert_leaves(FuseBatchNormalization(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(3)
        group = around.choose(1, 2)
        x = around.op("Neg", around.input(2, 4, 5, 5))
        op = around.choose("Conv", "ConvTranspose")
        shape = (6, 4 // group, 3, 3) if op == "Conv" else (4, 6 // group, 3, 3)
        weight = around.constant(generator.normal(size=shape).astype("f"))
        bias = [around.constant(generator.normal(size=6).astype("f"))] if around.choose(True, False) else []
        y = around.op(op, x, weight, *bias, group=group)
        vectors = [around.constant(generator.normal(size=6).astype("f"), varies=False) for _ in range(3)]
        around.op("BatchNormalization", y, *vectors, around.constant(np.full(6, 0.5, "f")))

    check_surroundings(FuseBatchNormalization(), build, examples=60, least_hits=0.1)
