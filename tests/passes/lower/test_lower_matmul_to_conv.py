import numpy as np

from npuopt.passes.lower.lower_matmul_to_conv import LowerMatmulToConv
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[2, 3, 2] x) => (float[2, 3, 1] y) <float[2, 1] w = {5, 7}"
BEFORE = f"{SIGNATURE}> {{y = MatMul(x, w)}}"


def test_rows_become_the_pixels_of_an_image():
    after = f"""{SIGNATURE}, int64[4] image = {{1, 1, 6, 2}}, float[1, 2, 1, 1] v = {{5, 7}}, int64[3] s = {{2, 3, 1}}>
    {{
        a = Reshape(x, image) b = Transpose<perm = [0, 3, 1, 2]>(a) c = Conv<kernel_shape = [1, 1]>(b, v)
        d = Transpose<perm = [0, 2, 3, 1]>(c) y = Reshape(d, s)
    }}"""
    assert_rewrites(LowerMatmulToConv(), BEFORE, after)


def test_a_vector_is_one_pixel():
    text = "(float[3] x) => (float[2] y) <float[3, 2] w = {1, 2, 3, 4, 5, 6}> {y = MatMul(x, w)}"
    assert_rewrites(LowerMatmulToConv(), text, None)


def test_leaves_what_is_no_constant_matrix():
    runtime = "(float[2, 2] x, float[2, 1] w) => (float[2, 1] y) {y = MatMul(x, w)}"
    assert_leaves(LowerMatmulToConv(), runtime, because="not a constant matrix")
    assert_leaves(LowerMatmulToConv(), BEFORE.replace("2, 3, 2] x", "N, 3, 2] x"), because="not static")
    assert_leaves(LowerMatmulToConv(), BEFORE.replace("float", "int32"), because="holds no floats")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(*around.choose((3,), (2, 3), (2, 2, 2, 3))))
        around.op("MatMul", x, around.constant(np.random.default_rng(0).normal(size=(3, 5)).astype("f")))

    check_surroundings(LowerMatmulToConv(), build)
