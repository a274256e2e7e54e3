import numpy as np

from npuopt.passes.lower.lower_gemm import LowerGemm
from npuopt.passes.lower.lower_matmul_to_conv import LowerMatmulToConv
from npuopt.passes.lower.lower_matmul_to_gemm import LowerMatmulToGemm
from npuopt.pipeline.legalize import legalize
from support.descriptors import target_with
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings


def test_matrices_as_they_are():
    signature = "(float[M, 2] x, float[2, N] w) => (float[M, N] y)"
    assert_rewrites(LowerMatmulToGemm(), f"{signature} {{y = MatMul(x, w)}}", f"{signature} {{y = Gemm(x, w)}}")


def test_more_axes_become_rows():
    signature = "(float[2, 3, 4] x, float[4, 5] w) => (float[2, 3, 5] y)"
    assert_rewrites(
        LowerMatmulToGemm(),
        f"{signature} {{y = MatMul(x, w)}}",
        f"""{signature} <int64[2] a = {{6, 4}}, int64[3] b = {{2, 3, 5}}> {{
            r = Reshape(x, a) g = Gemm(r, w) y = Reshape(g, b)
        }}""",
    )


def test_leaves_batches_of_matrices_vectors_and_dynamic_rows():
    text = "(float[2, 3, 4] x, float[2, 4, 5] w) => (float[2, 3, 5] y) {y = MatMul(x, w)}"
    assert_leaves(LowerMatmulToGemm(), text, because="not some rows and a matrix")
    dynamic = text.replace("[2, 3, 4] x", "[N, 3, 4] x").replace("[2, 4, 5]", "[4, 5]")
    assert_leaves(LowerMatmulToGemm(), dynamic, because="not static")


def test_there_and_back_ends_and_finds_the_third_way():
    text = "(float[2, 3] x) => (float[2, 4] y) <float[3, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}> {y = OP(x, w)}"
    ways = [LowerMatmulToGemm(), LowerGemm(), LowerMatmulToConv()]
    taken = {"Conv": "{schemes: [fp16]}", "Transpose": "{schemes: [fp16]}"}
    taken["Reshape"] = "{schemes: [fp16], when: [{constant: input 1}]}"
    target = target_with(f"{{{', '.join(f'{op}: {rule}' for op, rule in taken.items())}}}")
    for op, chain in (("MatMul", ("lower-matmul-to-conv",)), ("Gemm", ("lower-gemm", "lower-matmul-to-conv"))):
        report = legalize(model_from(text.replace("OP", op)), target, ways)
        assert [entry.lowered_by for entry in report.entries] == [chain]


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(*around.choose((2, 3), (2, 2, 3))))
        around.op("MatMul", x, around.constant(np.random.default_rng(0).normal(size=(3, 5)).astype("f")))

    check_surroundings(LowerMatmulToGemm(), build, least_hits=0.9)
