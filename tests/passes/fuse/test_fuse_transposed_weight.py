import numpy as np
import pytest

from npuopt.passes.fuse.fuse_transposed_weight import FuseTransposedWeight
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

WEIGHT = "float[2, 3] w = {1, 2, 3, 4, 5, 6}"

PLAIN = f"(float[4, 3] x) => (float[4, 2] y) <{WEIGHT}> {{t = Transpose(w) y = MatMul(x, t)}}"


@pytest.mark.parametrize("perm", ["<perm = [1, 0]>", ""])
def test_rows_are_multiplied_as_they_are(perm):
    signature = f"(float[4, 3] x) => (float[4, 2] y) <{WEIGHT}>"
    assert_rewrites(
        FuseTransposedWeight(),
        f"{signature} {{t = Transpose{perm}(w) y = MatMul(x, t)}}",
        f"{signature} {{y = Gemm<transB = 1>(x, w)}}",
    )


def test_other_ranks_are_reshaped():
    signature = f"(float[2, 4, 3] x) => (float[2, 4, 2] y) <{WEIGHT}"
    assert_rewrites(
        FuseTransposedWeight(),
        f"{signature}> {{t = Transpose(w) y = MatMul(x, t)}}",
        f"""{signature}, int64[2] flat = {{8, 3}}, int64[3] back = {{2, 4, 2}}> {{
            r = Reshape(x, flat) g = Gemm<transB = 1>(r, w) y = Reshape(g, back)
        }}""",
    )
    vector = f"(float[3] x) => (float[2] y) <{WEIGHT}> {{t = Transpose(w) y = MatMul(x, t)}}"
    assert_rewrites(FuseTransposedWeight(), vector, None)


def test_a_tied_table_stays_one():
    signature = f"(int64[4] ids) => (float[4, 2] y) <{WEIGHT}>"
    assert_rewrites(
        FuseTransposedWeight(),
        f"{signature} {{e = Gather(w, ids) t = Transpose(w) y = MatMul(e, t)}}",
        f"{signature} {{e = Gather(w, ids) y = Gemm<transB = 1>(e, w)}}",
        feeds={"ids": np.array([0, 1, 1, -2])},
    )


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (PLAIN.replace("[4, ", "[N, "), "not static"),
        (PLAIN.replace("[4, ", "[0, "), "no elements"),
        (PLAIN.replace("float", "int32"), "INT32"),
        (PLAIN.replace("[4, 2]", "[1, 4, 2]").replace("[2, 3]", "[1, 2, 3]").replace("(w)", "<perm = [0, 2, 1]>(w)"),
         "no transposed matrix"),
        ("(float[4, 3] x) => (float[4, 4] y) {t = Transpose(x) y = MatMul(x, t)}", None),
        (f"(float[2, 3] x) => (float[3, 3] y) <{WEIGHT}> {{t = Transpose(w) y = MatMul(t, x)}}", None),
    ],
)  # fmt: skip
def test_leaves_other_products(text, because):
    assert_leaves(FuseTransposedWeight(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        weight = around.constant(np.arange(6, dtype="f").reshape(2, 3), varies=False)
        turned = around.op("Transpose", weight, perm=[1, 0])
        x = around.op("Neg", around.input(*around.choose((4, 3), (2, 4, 3), (3,))))
        around.op("MatMul", x, turned)

    check_surroundings(FuseTransposedWeight(), build, least_hits=0.3)
