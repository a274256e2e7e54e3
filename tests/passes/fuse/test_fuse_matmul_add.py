import numpy as np
import pytest

from npuopt.passes.fuse.fuse_matmul_add import FuseMatmulAdd
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = "<float[2, 3] w = {1, 2, 3, 4, 5, 6}, float[3] c = {7, 8, 9}>"
SIGNATURE = f"(float[N, 2] x) => (float[N, 3] y) {CONSTANTS}"
BEFORE = f"{SIGNATURE} {{a = MatMul(x, w) y = Add(a, c)}}"


@pytest.mark.parametrize("order", ["Add(a, c)", "Add(c, a)"])
def test_two_matrices_and_a_bias_are_a_gemm(order):
    before = BEFORE.replace("Add(a, c)", order)
    assert_rewrites(FuseMatmulAdd(), before, f"{SIGNATURE} {{y = Gemm(x, w, c)}}")


def test_a_row_becomes_a_vector():
    before = BEFORE.replace("float[3] c", "float[1, 3] c")
    after = before.replace("float[1, 3] c = {7, 8, 9}", "float[1, 3] c = {7, 8, 9}, float[3] d = {7, 8, 9}")
    after = after.replace("a = MatMul(x, w) y = Add(a, c)", "y = Gemm(x, w, d)")
    assert_rewrites(FuseMatmulAdd(), before, after)


def test_a_higher_rank_is_flattened_where_asked():
    before = BEFORE.replace("[N, 2] x", "[4, 5, 2] x").replace("[N, 3] y", "[4, 5, 3] y")
    after = (
        before[: before.index("> {")]
        + """, int64[2] flat = {-1, 2}, int64[3] full = {4, 5, 3}> {
        f = Reshape(x, flat) g = Gemm(f, w, c) y = Reshape(g, full)
    }"""
    )
    assert_rewrites(FuseMatmulAdd(flatten=True), before, after)
    assert_leaves(FuseMatmulAdd(), before, because="rank 3 and 2")


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("float[3] c = {7, 8, 9}", "float[2, 1] c = {7, 8}").replace("[N,", "[2,"), "no row of width 3"),
        (
            BEFORE.replace("[N, 3] y", "[1, N, 3] y").replace("float[3] c", "float[1, 1, 3] c"),
            "no row of width 3",
        ),
        (BEFORE.replace("2] x", "2] x, float[3] c").replace(", float[3] c = {7, 8, 9}", ""), "'c' is not constant"),
        (BEFORE.replace("3] y", "3] y, float[N, 3] a"), "read elsewhere or is a graph output"),
        (BEFORE.replace("float", "int32"), "computes in INT32"),
        (BEFORE.replace("y = Add(a, c)", "b = Neg(a) y = Add(a, b)"), None),
        (f"{SIGNATURE} {{a = Gemm(x, w) y = Add(a, c)}}", None),
    ],
)
def test_leaves_what_is_no_gemm(text, because):
    assert_leaves(FuseMatmulAdd(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(5)
        x = around.op("Neg", around.input(*around.choose((3, 2), (2, 3, 2), (3, 2))))
        weight = around.constant(generator.normal(size=(2, 3)).astype("f"))
        shape = around.choose((3,), (1, 3), (1,), (), (3, 1), (3, 3), (1, 1, 3))
        bias = around.constant(generator.normal(size=shape).astype("f"))
        around.op("Add", around.op("MatMul", x, weight), bias)

    check_surroundings(FuseMatmulAdd(flatten=True), build, examples=80, least_hits=0.1)
