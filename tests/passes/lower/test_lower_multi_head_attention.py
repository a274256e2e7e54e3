import numpy as np
import pytest

from npuopt.passes.lower.lower_multi_head_attention import LowerMultiHeadAttention
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'
INPUTS = "float[2, 3, 8] q, float[2, 5, 8] k, float[2, 5, 12] v"
OUTPUT = "float[2, 3, 12] y"
NUMBERS = ", ".join(str(number % 7 / 8) for number in range(28))
BIAS = f"float[28] b = {{{NUMBERS}}}"


def test_heads_side_by_side():
    signature = f"{HEADER} ({INPUTS}) => ({OUTPUT})"
    assert_rewrites(
        LowerMultiHeadAttention(),
        f"{signature} {{y = com.microsoft.MultiHeadAttention<num_heads = 2, scale = 0.25>(q, k, v)}}",
        f"{signature} {{y = Attention<q_num_heads = 2, kv_num_heads = 2, scale = 0.25>(q, k, v)}}",
        tolerance=1e-5,
    )


@pytest.mark.parametrize(
    ("more", "inputs"),
    [
        ("", "q, k, v, b"),
        (", int32[2, 5] m", "q, k, v, , m"),
        (", int32[2, 3, 5] m", "q, k, v, b, m"),
        (", float[1, 2, 3, 5] a", "q, k, v, , , a"),
        (", int32[2, 5] m, float[2, 1, 3, 5] a", "q, k, v, b, m, a"),
    ],
)
def test_biases_and_masks(more, inputs):
    head = f"{HEADER} ({INPUTS}{more}) => ({OUTPUT}) <{BIAS}>"
    text = f"{head} {{y = com.microsoft.MultiHeadAttention<num_heads = 2>({inputs})}}"
    assert_rewrites(LowerMultiHeadAttention(), text, None, ranges={"m": (0, 2)}, tolerance=1e-4)


def test_a_past_goes_along():
    text = f"""{HEADER} ({INPUTS}, float[2, 2, 4, 4] pk, float[2, 2, 4, 6] pv, int32[2, 9] m)
        => ({OUTPUT}, float[2, 2, 9, 4] c, float[2, 2, 9, 6] d)
        {{y, c, d = com.microsoft.MultiHeadAttention<num_heads = 2>(q, k, v, , m, , pk, pv)}}"""
    text = (
        text.replace("12] v", "8] v")
        .replace("12] y", "8] y")
        .replace("4, 6] pv", "4, 4] pv")
        .replace("9, 6] d", "9, 4] d")
    )
    assert_rewrites(LowerMultiHeadAttention(), text, None, ranges={"m": (0, 2)}, tolerance=1e-4)


def joint(attributes="", more="", inputs="x, w, b", width=24, out=8):
    return f"""{HEADER} (float[2, 3, 4] x, float[4, {width}] w, float[{width}] b{more}) => (float[2, 3, {out}] y)
        {{y = com.microsoft.Attention<num_heads = 2{attributes}>({inputs})}}"""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attributes": ", unidirectional = 1"},
        {"attributes": ", qkv_hidden_sizes = [8, 8, 12]", "width": 28, "out": 12},
        {"more": ", int32[2, 3] m", "inputs": "x, w, b, m", "attributes": ", mask_filter_value = -3.0, scale = 0.3"},
        {"more": ", int32[2, 3, 3] m, float[1, 2, 3, 3] a", "inputs": "x, w, b, m, , a"},
    ],
)
def test_an_attention_with_weights(options):
    assert_rewrites(LowerMultiHeadAttention(), joint(**options), None, ranges={"m": (0, 2)}, tolerance=1e-4)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (joint(more=", int32[2] m", inputs="x, w, b, m"), "given by lengths"),
        (joint(attributes=", do_rotary = 1"), "it rotates"),
        (joint(attributes=", mask_filter_value = -3.4e38"), "it adds -3.4e+38"),
        (joint(more=", float[2, 2, 2, 5, 4] p", inputs="x, w, b, , p"), "its past is one tensor"),
        (joint().replace("2, 3, 4] x", "N, 3, 4] x"), "not static"),
        (f"""{HEADER} ({INPUTS}) => ({OUTPUT})
            {{y = com.microsoft.MultiHeadAttention<num_heads = 2, unidirectional = 1>(q, k, v)}}""", "it is causal"),
        (f"""{HEADER} ({INPUTS}, float[28] b) => ({OUTPUT})
            {{y = com.microsoft.MultiHeadAttention<num_heads = 2>(q, k, v, b)}}""", "bias is not constant"),
        (f"""{HEADER} (float[2, 3, 2, 3, 4] q) => (float[2, 3, 8] y)
            {{y = com.microsoft.MultiHeadAttention<num_heads = 2>(q)}}""", "packed"),
    ],
)  # fmt: skip
def test_leaves_other_forms(text, because):
    assert_leaves(LowerMultiHeadAttention(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        query, key = around.op("Neg", around.input(2, 3, 8)), around.input(2, 5, 8)
        value = around.op("Neg", around.input(2, 5, 8))
        mask = [around.constant(np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]], np.int32))] * around.choose(0, 1)
        made = around.op(
            "MultiHeadAttention", query, key, value, *["", *mask][: 2 * len(mask)], domain="com.microsoft",
            company=False, num_heads=around.choose(2, 4),
        )  # fmt: skip
        around.op("Abs", around.declare(made, 2, 3, 8))

    check_surroundings(LowerMultiHeadAttention(), build, least_hits=0.9, tolerance=1e-4)
