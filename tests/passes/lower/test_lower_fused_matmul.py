import numpy as np
import pytest

from npuopt.passes.lower.lower_fused_matmul import LowerFusedMatmul
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'


def test_both_turned_and_scaled():
    signature = f"{HEADER} (float[4, 3, 2] a, float[4, 5, 3] b) => (float[4, 2, 5] y)"
    assert_rewrites(
        LowerFusedMatmul(),
        f"{signature} {{y = com.microsoft.FusedMatMul<transA = 1, transB = 1, alpha = 0.5>(a, b)}}",
        f"""{signature} <float half = {{0.5}}> {{
            p = Transpose<perm = [0, 2, 1]>(a) q = Transpose<perm = [0, 2, 1]>(b) c = MatMul(p, q) y = Mul(c, half)
        }}""",
    )


@pytest.mark.parametrize(
    ("a", "b", "attributes"),
    [
        ("3, 4, 2", "3, 4, 5", "transBatchA = 1, transBatchB = 1, transA = 0"),
        ("3, 4, 6, 2", "3, 4, 6, 2", "transBatchA = 1, transBatchB = 1, transB = 1"),
        ("3, 4, 2", "3, 4, 5", "transA = 1, alpha = 2.0"),
        ("2, 3", "4, 3, 5", "alpha = -1.0"),
        ("3", "4, 3, 5", "alpha = 0.0"),
    ],
)
def test_other_forms(a, b, attributes):
    if "transBatchA = 1, transBatchB = 1, transA" in attributes:
        b = "2, 4, 5"
    text = f"(float[{a}] a, float[{b}] b) => (float[] y) {{y = com.microsoft.FusedMatMul<{attributes}>(a, b)}}"
    assert_rewrites(LowerFusedMatmul(), f"{HEADER} {text}", None)


def test_leaves_vectors_that_are_turned():
    text = f"{HEADER} (float[3] a, float[3, 5] b) => (float[5] y) {{y = com.microsoft.FusedMatMul<transA = 1>(a, b)}}"
    assert_leaves(LowerFusedMatmul(), text, because="is a vector")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        turned = around.choose(0, 1)
        a = around.op("Neg", around.input(2, 4, 3) if turned else around.input(2, 3, 4))
        b = around.constant(np.random.default_rng(0).normal(size=(4, 5)).astype("f"))
        alpha = around.choose(1.0, 0.125)
        made = around.op("FusedMatMul", a, b, domain="com.microsoft", company=False, transA=turned, alpha=alpha)
        around.op("Relu", around.declare(made, 2, 3, 5))

    check_surroundings(LowerFusedMatmul(), build, least_hits=0.9)
