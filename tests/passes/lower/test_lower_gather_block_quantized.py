import numpy as np
import pytest

from npuopt.graph import DataType, nodes
from npuopt.passes.lower.lower_gather_block_quantized import LowerGatherBlockQuantized
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'


def listed(count, top=256):
    return ", ".join(str(number * 37 % top) for number in range(count))


SIGNATURE = f"""{HEADER} (int64[2, 3] i) => (float[2, 3, 32] y) <uint8[4, 16] d = {{{listed(64)}}},
    float[4, 2] s = {{1, 2, 3, 4, 5, 6, 7, 8}}, uint8[4, 1] z = {{131, 87, 16, 255}}"""
NODE = "com.microsoft.GatherBlockQuantized<block_size = 16, bits = 4, quantize_axis = 1>"
RANGES = {"i": (0, 4)}


def test_rows_of_four_bits():
    model = model_from(f"{SIGNATURE}> {{y = {NODE}(d, i, s)}}")
    assert_rewrites(LowerGatherBlockQuantized(), model, None, ranges=RANGES)
    assert [node.op_type for node in nodes(model)] == ["DequantizeLinear", "Gather"]
    assert nodes(model)[0].inputs[0].dtype == DataType.UINT4


def test_zero_points_share_bytes_too():
    assert_rewrites(LowerGatherBlockQuantized(), f"{SIGNATURE}> {{y = {NODE}(d, i, s, z)}}", None, ranges=RANGES)


@pytest.mark.parametrize("zeros", ["", ", z"])
def test_rows_of_bytes(zeros):
    text = f"""{HEADER} (int64[3] i) => (float[3, 32] y) <uint8[4, 32] d = {{{listed(128)}}},
        float[4, 2] s = {{1, 2, 3, 4, 5, 6, 7, 8}}, uint8[4, 2] z = {{{listed(8)}}}> {{
        y = {NODE.replace("bits = 4", "bits = 8")}(d, i, s{zeros})
    }}"""
    assert_rewrites(LowerGatherBlockQuantized(), text, None, ranges=RANGES)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (f"{SIGNATURE}> {{y = {NODE.replace('bits = 4', 'bits = 2')}(d, i, s)}}", "2 bits"),
        (f"{SIGNATURE}> {{y = {NODE.replace('= 16', '= 64')}(d, i, s)}}", "no whole number of blocks"),
        (f"{SIGNATURE}> {{y = {NODE}(d, i, s)}}".replace(f"uint8[4, 16] d = {{{listed(64)}}},", "")
         .replace("3] i)", "3] i, uint8[4, 16] d)"), "not constant"),
    ],
)  # fmt: skip
def test_leaves_other_forms(text, because):
    assert_leaves(LowerGatherBlockQuantized(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        table = np.random.default_rng(0).integers(0, 256, (4, 16)).astype("uint8")
        scales = np.random.default_rng(1).normal(size=(4, 2)).astype("f")
        ids = around.constant(np.array(around.choose([0, 3], [1, 1])))
        facts = {"block_size": 16, "bits": 4, "quantize_axis": around.choose(1, -1)}
        operands = [around.constant(table, varies=False), ids, around.constant(scales, varies=False)]
        made = around.op("GatherBlockQuantized", *operands, domain="com.microsoft", company=False, **facts)
        around.op("Neg", around.declare(made, 2, 32))

    check_surroundings(LowerGatherBlockQuantized(), build, least_hits=0.9)
