import numpy as np
import pytest

from npuopt.graph import nodes
from npuopt.passes.fuse.fuse_attention import FuseAttention
from npuopt.passes.fuse.fuse_attention_einsum import FuseAttentionEinsum
from npuopt.passes.fuse.fuse_consecutive_transposes import FuseConsecutiveTransposes
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

HEADS_LAST = "(float[N, 3, 2, 4] q, float[N, 5, 2, 4] k, float[N, 5, 2, 6] v) => (float[N, 3, 2, 6] y)"
BEFORE = f"""{HEADS_LAST} <float h = {{0.5}}> {{
    s = Einsum<equation = "bihd, bjhd -> bhij">(q, k) t = Mul(s, h) w = Softmax<axis = -1>(t)
    y = Einsum<equation = "bhij,bjhd->bihd">(w, v)
}}"""


def test_products_of_heads_that_come_last():
    after = f"""{HEADS_LAST} <float h = {{0.5}}> {{
        a = Transpose<perm = [0, 2, 1, 3]>(q) b = Transpose<perm = [0, 2, 3, 1]>(k)
        s = MatMul(a, b) t = Mul(s, h) w = Softmax<axis = -1>(t)
        c = Transpose<perm = [0, 2, 1, 3]>(v) p = MatMul(w, c) y = Transpose<perm = [0, 2, 1, 3]>(p)
    }}"""
    assert_rewrites(FuseAttentionEinsum(), BEFORE, after)


def test_attention_is_found_behind_it():
    model = model_from(BEFORE)
    for pass_ in (FuseAttentionEinsum(), FuseAttention(), FuseConsecutiveTransposes()):
        pass_(model)
    assert sorted(node.op_type for node in nodes(model)) == ["Attention", *["Transpose"] * 4]


@pytest.mark.parametrize(
    ("equation", "first", "second"),
    [
        ("bhid,bhjd->bhij", "2, 3, 4, 5", "2, 3, 6, 5"),
        ("bhjd,bhid->bhij", "2, 3, 6, 5", "2, 3, 4, 5"),
        ("bhdj,bhid->bhij", "2, 3, 5, 6", "2, 3, 4, 5"),
        ("bihd,bjhd->hbij", "2, 4, 3, 5", "2, 6, 3, 5"),
        ("dbih,hbjd->ijbh", "5, 2, 4, 3", "3, 2, 6, 5"),
    ],
)
def test_letters_in_any_order(equation, first, second):
    text = f"""(float[{first}] q, float[{second}] k) => (float[A, B, C, D] y)
        {{s = Einsum<equation = "{equation}">(q, k) y = Softmax<axis = -1>(s)}}"""
    assert_rewrites(FuseAttentionEinsum(), text, None)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("Softmax<axis = -1>", "Neg"), None),
        ("""(float[2, 3, 4, 5] q, float[2, 3, 6, 5] k) => (float[2, 3, 4, 6] y)
            {s = Einsum<equation = "...id,...jd->...ij">(q, k) y = Softmax(s)}""", "is no product of matrices"),
        ("""(float[2, 3, 4, 5] q, float[1, 3, 6, 5] k) => (float[2, 3, 4, 6] y)
            {s = Einsum<equation = "bhid,ahjd->bhij">(q, k) y = Softmax(s)}""", "is no product of matrices"),
        ("""(float[2, 3, 4, 5] q, float[2, 3, 6, 5] k) => (float[2, 3, 4] y)
            {s = Einsum<equation = "bhid,bhjd->bhi">(q, k) y = Softmax(s)}""", "is no product of matrices"),
        ("""(float[N, 3, 4, 5] q, float[1, 3, 6, 5] k) => (float[N, 3, 4, 6] y)
            {s = Einsum<equation = "bhid,bhjd->bhij">(q, k) y = Softmax(s)}""", "its operands broadcast"),
    ],
)  # fmt: skip
def test_leaves_what_is_no_attention(text, because):
    assert_leaves(FuseAttentionEinsum(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        equation, shape = around.choose(
            ("bihd,bjhd->bhij", (2, 3, 2, 4)), ("bhid,bhjd->bhij", (2, 2, 3, 4)), ("bhjd,bhid->bhji", (2, 2, 3, 4))
        )
        query, key = (around.op("Neg", around.input(*shape)) for _ in "qk")
        scores = around.op("Einsum", query, key, equation=equation)
        scaled = around.op("Mul", scores, around.constant(np.array(0.5, "f")))
        weights = around.op("Softmax", scaled, axis=-1)
        around.op("Einsum", weights, key, equation=f"bhij,{equation.split(',')[1][:4]}->bhid")

    check_surroundings(FuseAttentionEinsum(), build, examples=40, least_hits=0.6)
