import numpy as np
import pytest

from npuopt.graph import Session, infer_shapes, nodes
from npuopt.passes.clean.drop_unused_nodes import DropUnusedNodes
from npuopt.passes.quantize.fuse_weight_dequantize import FuseWeightDequantize
from npuopt.passes.quantize.insert_weight_dequantize import InsertWeightDequantize
from npuopt.quantization import Encodings
from npuopt.quantization.block_encodings import BlockEncoding
from npuopt.target import load_target
from support.rewrites import assert_leaves, assert_rewrites, model_from

HEXAGON = load_target("qualcomm/sm8750")
FUSED = '<ir_version: 12, opset_import: ["" : 24, "com.microsoft" : 1]> g '
BYTES = ", ".join(map(str, range(-8, 8)))
SHIFTED = ", ".join(map(str, range(120, 136)))
TABLE = f"""<int8[2,16] q = {{{BYTES}, {BYTES}}}, float[2,1] s = {{0.5, 2}}, int8[2,1] z = {{0, 0}}>"""
PACKED = f"""uint8[2,1,16] q = {{{SHIFTED}, {SHIFTED}}}, float[2,1] s = {{0.5, 2}}"""
SIZES = "K = 16, N = 2, bits = 8, block_size = 16, accuracy_level = 0"
ROWS = "bits = 8, block_size = 16, gather_axis = 0, quantize_axis = 1"


def dequantized(body, interface="(float[3,16] x) => (float[3,2] y)", table=TABLE):
    return f"{interface} {table} {{w = DequantizeLinear<axis = 1, block_size = 16>(q, s, z) {body}}}"


def product(inputs, constants, parameters, attributes="axis = 1"):
    return (
        f"({inputs}) => (float[3,2] y) <{constants}>"
        f"{{w = DequantizeLinear<{attributes}>({parameters}) y = MatMul(x, w)}}"
    )


@pytest.mark.parametrize(
    "body", ["t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t)", "y = Gemm<transB = 1>(x, w)"], ids=["MatMul", "Gemm"]
)
def test_a_product_is_one_op(body):
    assert_rewrites(
        FuseWeightDequantize(),
        dequantized(body),
        f"{FUSED}(float[3,16] x) => (float[3,2] y) <{PACKED}> {{y = com.microsoft.MatMulNBits<{SIZES}>(x, q, s)}}",
    )


def test_a_bias_is_added_after():
    report = assert_rewrites(
        FuseWeightDequantize(),
        "(float[3,16] x) => (float[3,2] y) " + TABLE.replace("<", "<float[2] b = {1, -1}, ")
        + "{w = DequantizeLinear<axis = 1, block_size = 16>(q, s, z) y = Gemm<transB = 1>(x, w, b)}",
        f"""{FUSED}(float[3,16] x) => (float[3,2] y) <{PACKED}, float[2] b = {{1, -1}}>
        {{p = com.microsoft.MatMulNBits<{SIZES}>(x, q, s) y = Add(p, b)}}""",
    )  # fmt: skip
    assert "8 bits in blocks of 16" in report.changed[0].text


@pytest.mark.parametrize(("given", "taken"), [("3", "1, 3"), ("2,2,3", "4, 3")], ids=["matrix", "stack"])
def test_ranks_that_the_target_does_not_take_are_reshaped(given, taken):
    assert_rewrites(
        FuseWeightDequantize(),
        dequantized(
            "t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t)", f"(float[{given},16] x) => (float[{given},2] y)"
        ),
        f"""{FUSED}(float[{given},16] x) => (float[{given},2] y)
        <{PACKED}, int64[3] there = {{{taken}, 16}}, int64[{given.count(",") + 2}] back = {{{given}, 2}}>
        {{r = Reshape(x, there) p = com.microsoft.MatMulNBits<{SIZES}>(r, q, s) y = Reshape(p, back)}}""",
        target=HEXAGON,
    )


def test_what_is_reshaped_is_known_to_the_target():
    text = dequantized("t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t)")
    model = model_from(text)
    FuseWeightDequantize()(model, HEXAGON)
    assert [str(HEXAGON.accepts(node).reasons) for node in model.graph] == ["()"] * 3


def test_a_rank_that_the_target_takes_stays():
    report = assert_rewrites(
        FuseWeightDequantize(),
        dequantized("t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t)", "(float[2,3,16] x) => (float[2,3,2] y)"),
        f"""{FUSED}(float[2,3,16] x) => (float[2,3,2] y) <{PACKED}>
        {{y = com.microsoft.MatMulNBits<{SIZES}>(x, q, s)}}""",
        target=HEXAGON,
    )
    assert len(report.changed) == 1


def test_a_lookup_is_one_op():
    assert_rewrites(
        FuseWeightDequantize(),
        dequantized("y = Gather(w, x)", "(int64[3] x) => (float[3,16] y)"),
        f"""{FUSED}(int64[3] x) => (float[3,16] y) <{PACKED.replace("[2,1,16]", "[2,16]")}>
        {{y = com.microsoft.GatherBlockQuantized<{ROWS}>(q, x, s)}}""",
        ranges={"x": (0, 2)},
    )


def test_a_tied_table_is_kept_once():
    assert_rewrites(
        FuseWeightDequantize(),
        dequantized(
            "r = Gather(w, i) t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t)",
            "(int64[3] i, float[3,16] x) => (float[3,16] r, float[3,2] y)",
        ),
        f"""{FUSED}(int64[3] i, float[3,16] x) => (float[3,16] r, float[3,2] y) <{PACKED}, int64[2] n = {{2, -1}}>
        {{y = com.microsoft.MatMulNBits<{SIZES}>(x, q, s)
          t = Reshape(q, n) r = com.microsoft.GatherBlockQuantized<{ROWS}>(t, i, s)}}""",
        ranges={"i": (0, 2)},
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            dequantized("t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t) z2 = Exp(w)").replace(
                "(float[3,2] y)", "(float[3,2] y, float[2,16] z2)"
            ),
            "Exp reads it too",
        ),
        (dequantized("y = MatMul(x, w)", "(float[3,2] x) => (float[3,16] y)"), "MatMul reads it too"),
        (dequantized("y = Gemm<transB = 1, alpha = 2.0>(x, w)"), None),
        (
            product("float[3,2] x", "int8[2,2] q = {1, 2, 3, 4}, float s = {1}, int8 z = {0}", "q, s, z"),
            "one scale for",
        ),
        (
            product(
                "float[3,8] x",
                "int8[8,2] q = {1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8}, float[1,2] s = {1, 1}, int8[1,2] z = {0, 0}",
                "q, s, z",
                "axis = 0, block_size = 8",
            ),
            "blocks of 8",
        ),
        (product("float[3,2] x, float[2] s", "int8[2,2] q = {1, 2, 3, 4}", "q, s"), "not constant"),
        (product("float[3,2] x", "int16[2,2] q = {1, 2, 3, 4}, float[2] s = {1, 1}", "q, s"), "neither 4 nor 8 bits"),
    ],
)
def test_what_the_ops_cannot_say_stays(text, why):
    assert_leaves(FuseWeightDequantize(), text, because=why)


@pytest.mark.parametrize("features", [64, 192])
@pytest.mark.parametrize(
    "held",
    [
        BlockEncoding(dtype="int4", axis=1, block=32),
        BlockEncoding(dtype="uint4", axis=1, block=16, symmetric=False),
        BlockEncoding(dtype="uint8", axis=1, block=64, symmetric=False),
        BlockEncoding(dtype="int8", axis=0),
        BlockEncoding(dtype="uint4", axis=0),
    ],
    ids=lambda held: f"{held.dtype}-{held.block}",
)
def test_numbers_stay_with_every_layout(held, features):
    """A table that is read in both ways."""
    numbers = np.random.default_rng(0).standard_normal((5, features)).round(3)
    model = model_from(
        f"""(int64[3] i, float[2,{features}] x) => (float[3,{features}] r, float[2,5] y)
        <float[5,{features}] w = {{{", ".join(map(str, numbers.reshape(-1)))}}}>
        {{r = Gather(w, i) t = Transpose<perm = [1, 0]>(w) y = MatMul(x, t)}}"""
    )
    InsertWeightDequantize(encodings=Encodings(tensors={}, blocks={"w": held}))(model)
    infer_shapes(model)
    feeds = {"i": np.array([4, 0, 2]), "x": np.random.default_rng(1).standard_normal((2, features), np.float32)}
    before = Session(model).run(feeds)
    FuseWeightDequantize()(model)
    DropUnusedNodes()(model)
    assert [len(nodes(model, f"com.microsoft::{op}")) for op in ("MatMulNBits", "GatherBlockQuantized")] == [1, 1]
    assert not nodes(model, "DequantizeLinear", "Transpose")
    for optimize in (False, True):
        after = Session(model, optimize=optimize).run(feeds)
        for name, expected in before.items():
            np.testing.assert_allclose(after[name], expected, atol=2e-5)
