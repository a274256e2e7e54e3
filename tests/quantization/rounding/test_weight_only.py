"""Which weights a weight-only scheme holds, along which axis, and which it leaves in float."""

import pytest

from npuopt.quantization.rounding.weight_only import held_weights
from npuopt.target import load_target
from support.rewrites import model_from

ONNX_RUNTIME = load_target("host/onnxruntime")


def zeros(*shape):
    size = 1
    for dim in shape:
        size *= dim
    return f"float[{','.join(map(str, shape))}] w = {{{', '.join(['1'] * size)}}}"


def planned(text, scheme="w4", **precisions):
    return held_weights(model_from(text), ONNX_RUNTIME, scheme, precisions)


@pytest.mark.parametrize(
    ("body", "weight", "axis"),
    [
        ("(float[2,64] x) => (float[2,8] y) <W> {y = MatMul(x, w)}", (64, 8), 0),
        ("(float[64,2] x) => (float[8,2] y) <W> {y = MatMul(w, x)}", (8, 64), 1),
        ("(float[3,2,64] x) => (float[3,2,8] y) <W> {y = MatMul(x, w)}", (3, 64, 8), 1),
        ("(float[2,64] x) => (float[2,8] y) <W> {y = Gemm(x, w)}", (64, 8), 0),
        ("(float[2,64] x) => (float[2,8] y) <W> {y = Gemm<transB = 1>(x, w)}", (8, 64), 1),
        ("(float[2,64] x) => (float[2,8] y) <W> {t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t)}", (8, 64), 1),
        ("(int64[2] x) => (float[2,64] y) <W> {y = Gather(w, x)}", (8, 64), 1),
    ],
)
def test_blocks_lie_along_what_is_summed_over(body, weight, axis):
    (held,) = planned(body.replace("W", zeros(*weight))).blocks.values()
    assert (held.dtype, held.axis, held.block, held.symmetric) == ("int4", axis, 32, True)


@pytest.mark.parametrize(
    ("body", "weight", "axis", "block"),
    [
        ("(float[2,64] x) => (float[2,8] y) <W> {y = MatMul(x, w)}", (64, 8), 1, None),
        ("(float[3,2,64] x) => (float[3,2,8] y) <W> {y = MatMul(x, w)}", (3, 64, 8), 1, 64),
        ("(int64[2] x) => (float[2,64] y) <W> {y = Gather(w, x)}", (8, 64), 0, None),
        ("(float[1,4,5,5] x) => (float[1,8,3,3] y) <W> {y = Conv(x, w)}", (8, 4, 3, 3), 0, None),
    ],
)
def test_channels_lie_across_it(body, weight, axis, block):
    (held,) = planned(body.replace("W", zeros(*weight)), "w8").blocks.values()
    assert (held.dtype, held.axis, held.block) == ("int8", axis, block)


def test_asymmetric_schemes_say_so():
    (held,) = planned(f"(float[2,64] x) => (float[2,8] y) <{zeros(64, 8)}> {{y = MatMul(x, w)}}", "w4a").blocks.values()
    assert (held.dtype, held.symmetric) == ("uint4", False)


def test_single_nodes_hold_their_weights_otherwise():
    text = f"""(float[2,64] x) => (float[2,8] y, float[2,8] z) <{zeros(64, 8)}, {zeros(64, 8).replace("w", "v")}>
    {{y = MatMul(x, w) z = MatMul(x, v)}}"""
    assert {name: held.dtype for name, held in planned(text, y="w8").blocks.items()} == {"w": "int8", "v": "int4"}
    kept = planned(text, z="fp32")
    assert set(kept.blocks) == {"w"}
    assert kept.left == {"v": "a node that is computed in fp32 reads it"}


def test_readers_that_differ_share_the_one_with_the_most_bits():
    text = f"""(float[2,64] x) => (float[2,8] y, float[2,8] z) <{zeros(64, 8)}> {{y = MatMul(x, w) z = MatMul(x, w)}}"""
    assert planned(text, y="w8").blocks == planned(text, "w8").blocks
    assert planned(text, "w4", y="w4a", z="w8").blocks == planned(text, "w8").blocks
    assert not planned(text, z="fp32").blocks


@pytest.mark.parametrize(
    ("x", "weight", "why"),
    [((2, 64), (64, 8), None), ((2, 48), (48, 8), "no whole number of blocks"), ((3, 2, 64), (3, 64, 8), "rank 3")],
)
def test_what_cannot_be_packed_stays_float_where_weights_must_be(x, weight, why):
    made = (*x[:-1], weight[-1])
    text = f"(float[{','.join(map(str, x))}] x) => (float[{','.join(map(str, made))}] y)"
    model = model_from(f"{text} <{zeros(*weight)}> {{y = MatMul(x, w)}}")
    found = held_weights(model, load_target("qualcomm/sm8750"), "w4")
    assert list(found.blocks) == ([] if why else ["w"])
    assert why is None or why in found.left["w"]


def test_a_tied_embedding_is_one():
    text = f"""(int64[2] i, float[2,64] x) => (float[2,64] r, float[2,8] y) <{zeros(8, 64)}>
    {{r = Gather(w, i) t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t)}}"""
    assert {name: held.axis for name, held in planned(text).blocks.items()} == {"w": 1}


@pytest.mark.parametrize(
    ("body", "weight", "why"),
    [
        ("(float[2,64] x) => (float[2,8] y, float[64,8] z) <W> {y = MatMul(x, w) z = Exp(w)}", (64, 8), "Exp reads it"),
        (
            "(float[2,64] x) => (float[2,64] y, float[2,64] z) <W> {y = MatMul(x, w) z = Gemm<transB = 1>(x, w)}",
            (64, 64),
            "summed over along axes 0 and 1",
        ),
        ("(float[2,1] x) => (float[2,4] y) <W> {y = MatMul(x, w)}", (1, 4), "instead of"),
        ("(int64[2] x, float[2,64] z) => (float[2,64] y) <W> {r = Gather(w, x) y = Mul(z, r)}", (8, 64), "of angles"),
        (
            "(float[1,4,5,5] x) => (float[1,8,3,3] y, float[5,9] z) <W> {y = Conv(x, w) z = Conv(x, w)}",
            (8, 4, 3, 3),
            "",
        ),
    ],
)
def test_what_stays_float_says_why(body, weight, why):
    found = planned(body.replace("W", zeros(*weight)))
    assert not found.blocks
    assert why in found.left.get("w", "")


def test_constants_that_are_no_weights_are_not_worth_a_word():
    found = planned("(float[2,2] x) => (float[2,2] y) <float[2,2] w = {1, 2, 3, 4}> {y = Add(x, w)}")
    assert not found.blocks
    assert not found.left
