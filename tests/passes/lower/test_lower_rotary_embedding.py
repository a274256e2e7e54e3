import numpy as np
import pytest

from npuopt.passes.lower.lower_rotary_embedding import LowerRotaryEmbedding
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[2, 3, 5, 4] x, float[9, 2] c, float[9, 2] s, int64[2, 5] p) => (float[2, 3, 5, 4] y)"
BOUNDED = {"p": np.arange(10).reshape(2, 5) % 9}


def test_becomes_a_rotation_of_halves():
    assert_rewrites(
        LowerRotaryEmbedding(),
        f"{SIGNATURE} {{y = RotaryEmbedding(x, c, s, p)}}",
        f"""{SIGNATURE} <int64[1] one = {{1}}, int64[1] zero = {{0}}, int64[1] two = {{2}}, int64[1] last = {{-1}},
            int64[1] step = {{1}}, int64[1] two2 = {{2}}, int64[1] end = {{2147483647}}, int64[1] last2 = {{-1}},
            int64[1] step2 = {{1}}, int64[1] one2 = {{1}}> {{
            a = Slice(x, zero, two, last, step) cg = Gather<axis = 0>(c, p) cu = Unsqueeze(cg, one)
            ac = Mul(a, cu)
            b = Slice(x, two2, end, last2, step2) sg = Gather<axis = 0>(s, p) su = Unsqueeze(sg, one2)
            bs = Mul(b, su) re = Sub(ac, bs)
            as_ = Mul(a, su) bc = Mul(b, cu) im = Add(as_, bc)
            y = Concat<axis = -1>(re, im)
        }}""",
        feeds=BOUNDED,
    )


@pytest.mark.parametrize("options", ["", "interleaved = 1,", "rotary_embedding_dim = 2,"])
def test_heads_side_by_side(options):
    half = 1 if "dim" in options else 2
    text = f"""(float[2, 5, 12] x, float[2, 5, {half}] c, float[2, 5, {half}] s) => (float[2, 5, 12] y) {{
        y = RotaryEmbedding<{options} num_heads = 3>(x, c, s)
    }}"""
    assert_rewrites(LowerRotaryEmbedding(), text, None)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (
            """(float[N, 3, 5, 4] x, float[9, 2] c, int64[N, 5] p) => (float[N, 3, 5, 4] y)
            {y = RotaryEmbedding(x, c, c, p)}""",
            "not static",
        ),
        (
            """(float[2, 5, 12] x, float[2, 5, 2] c) => (float[2, 5, 12] y)
            {y = RotaryEmbedding<num_heads = 5>(x, c, c)}""",
            "5 heads do not divide",
        ),
    ],
)
def test_leaves_other_shapes(text, because):
    assert_leaves(LowerRotaryEmbedding(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 5, 8))
        turned = around.choose(0, 4)
        caches = [
            around.constant(np.random.default_rng(i).normal(size=(9, (turned or 8) // 2)).astype("f")) for i in (0, 1)
        ]
        positions = around.constant(np.arange(10).reshape(2, 5) % 9)
        interleaved = around.choose(0, 1)
        around.op("RotaryEmbedding", x, *caches, positions, interleaved=interleaved, rotary_embedding_dim=turned)

    check_surroundings(LowerRotaryEmbedding(), build, least_hits=0.9)
