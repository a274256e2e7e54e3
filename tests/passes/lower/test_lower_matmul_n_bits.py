import numpy as np
import pytest

from npuopt.graph import DataType, constant, nodes
from npuopt.passes.lower.lower_matmul_n_bits import LowerMatmulNBits
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'


def listed(count: int, top: int = 256) -> str:
    return ", ".join(str(number * 37 % top) for number in range(count))


SIGNATURE = f"""{HEADER} (float[3, 32] x) => (float[3, 2] y)
    <uint8[2, 2, 8] w = {{{listed(32)}}}, float[2, 2] s = {{1, 2, 3, 4}}, uint8[2, 1] z = {{{0x83}, {0x57}}},
     float[2] b = {{5, 6}}"""
NODE = "com.microsoft.MatMulNBits<K = 32, N = 2, bits = 4, block_size = 16>"


def test_weights_are_unpacked_and_lose_their_offset():
    model = model_from(f"{SIGNATURE}> {{y = {NODE}(x, w, s)}}")
    packed = constant(model.graph.initializers["w"]).reshape(2, 16).astype(int)
    report = assert_rewrites(LowerMatmulNBits(), model, None, tolerance=1e-4)
    assert report.changed[0].text == "became DequantizeLinear, MatMul"
    weight, scale = nodes(model, "DequantizeLinear")[0].inputs
    assert weight.dtype == DataType.INT4
    assert constant(weight)[:2].astype(int).tolist() == [
        [number % 16 - 8 for number in packed[:, 0]],
        [number // 16 - 8 for number in packed[:, 0]],
    ]
    assert constant(scale).tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("inputs", ["x, w, s, z", "x, w, s, z, , b", "x, w, s, , , b"])
def test_zero_points_and_a_bias(inputs):
    assert_rewrites(LowerMatmulNBits(), f"{SIGNATURE}> {{y = {NODE}({inputs})}}", None, tolerance=1e-4)


def test_eight_bits():
    text = f"""{HEADER} (float[2, 3, 16] x) => (float[2, 3, 2] y) <uint8[2, 1, 16] w = {{{listed(32)}}},
        float[2] s = {{0.5, 0.25}}, uint8[2] z = {{7, 130}}> {{
        y = com.microsoft.MatMulNBits<K = 16, N = 2, bits = 8, block_size = 16>(x, w, s, z)
    }}"""
    assert_rewrites(LowerMatmulNBits(), text, None, tolerance=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "because"),
    [
        ("bits = 4", "bits = 2", "2 bits"),
        ("K = 32", "K = 24", "no whole number of blocks"),
        ("(x, w, s)", "(x, w, s, , order)", "an order of their own"),
        ("(x, w, s)", "(x, w, s, f)", "zero points are floats"),
        ("float[2, 2] s = {1, 2, 3, 4}, ", "", "not constant"),
    ],
)
def test_leaves_other_forms(old, new, because):
    text = (
        f"{SIGNATURE}, int32[32] order = {{{listed(32, 32)}}}, float[2, 2] f = {{1, 2, 3, 4}}> {{y = {NODE}(x, w, s)}}"
    )
    text = text.replace(old, new)
    if "s = {" not in text:
        text = text.replace("32] x)", "32] x, float[2, 2] s)")
    assert_leaves(LowerMatmulNBits(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(0)
        weight = around.constant(generator.integers(0, 256, (3, 2, 8)).astype("uint8"), varies=False)
        scales = around.constant(generator.normal(size=(3, 2)).astype("f"), varies=False)
        x = around.op("Neg", around.input(2, 32))
        facts = {"K": 32, "N": 3, "bits": 4, "block_size": 16}
        made = around.op("MatMulNBits", x, weight, scales, domain="com.microsoft", company=False, **facts)
        around.op("Relu", around.declare(made, 2, 3))

    check_surroundings(LowerMatmulNBits(), build, least_hits=0.9, tolerance=1e-4)
