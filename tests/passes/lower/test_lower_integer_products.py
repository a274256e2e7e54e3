import numpy as np
import pytest

from npuopt.graph import nodes
from npuopt.passes.lower.lower_integer_products import LowerIntegerProducts
from npuopt.pipeline.legalize import legalize
from support.descriptors import target_with
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(uint8[N, 2] a) => (int32[N, 2] y) <int8[2, 2] b = {1, 2, 3, -4}, uint8 z = {7}"


def test_dequantized_operands_and_a_rounded_product():
    assert_rewrites(
        LowerIntegerProducts(),
        f"{SIGNATURE}> {{y = MatMulInteger(a, b, z)}}",
        f"""{SIGNATURE}, float s = {{1}}, float t = {{1}}> {{
            p = DequantizeLinear(a, s, z) q = DequantizeLinear(b, t) m = MatMul(p, q) y = Cast<to = 6>(m)
        }}""",
    )


@pytest.mark.parametrize("inputs", ["a, b, z, columns", "a, b, , columns", "a, b"])
def test_zero_points_by_column(inputs):
    text = f"""(uint8[3, 2] a, int8[2, 2] b, uint8 z, int8[2] columns) => (int32[3, 2] y) {{
        y = MatMulInteger({inputs})
    }}"""
    whole = {"a": np.array([[0, 255], [128, 3], [255, 255]], np.uint8), "columns": np.array([-128, 127], np.int8)}
    assert_rewrites(LowerIntegerProducts(), text, None, feeds=whole)


def test_padding_of_a_convolution_is_the_zero_point():
    text = """(uint8[1, 2, 4, 4] a) => (int32[1, 2, 4, 4] y)
        <uint8[2, 2, 2, 2] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, uint8 z = {100}, uint8 c = {3}>
        {y = ConvInteger<pads = [1, 0, 0, 1]>(a, w, z, c)}"""
    assert_rewrites(LowerIntegerProducts(), text, None)


def test_leaves_sums_that_floats_do_not_hold():
    many = "(uint8[1, 300] a, uint8[300, 1] b) => (int32[1, 1] y) {y = MatMulInteger(a, b)}"
    assert_leaves(LowerIntegerProducts(), many, because="its sums may reach 19507500")
    assert_leaves(LowerIntegerProducts(), many.replace("300", "K"), because="not static")
    grid = "(uint8[2, 3, 2] a, int8[2, 2] b, uint8[2, 3, 1] z) => (int32[2, 3, 2] y) {y = MatMulInteger(a, b, z)}"
    assert_leaves(LowerIntegerProducts(), grid, because="more than one axis")


def test_the_search_tells_small_weights_from_large_ones():
    def matrix(name: str, value: int) -> str:
        return f"uint8[300, 2] {name} = {{{', '.join([str(value)] * 600)}}}"

    text = f"""(uint8[1, 300] a) => (int32[1, 2] y, int32[1, 2] z) <{matrix("b", 1)}, {matrix("c", 255)}> {{
        y = MatMulInteger(a, b) z = MatMulInteger(a, c)
    }}"""
    quantized = "{schemes: [fp16], dtypes: {inputs: {0: [uint8]}, outputs: {0: [int32]}}}"
    target = target_with(f"{{DequantizeLinear: {quantized}, MatMul: {{schemes: [fp16]}}, Cast: {quantized}}}")
    model = model_from(text)
    report = legalize(model, target, [LowerIntegerProducts()])
    assert [entry.stays for entry in report.entries] == ["", "host"]
    assert len(nodes(model, "MatMulInteger")) == 1


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        a, generator = around.input(2, 3, dtype="uint8"), np.random.default_rng(0)
        weight = around.constant(generator.integers(-128, 128, (3, 4)).astype("int8"))
        zeros = [around.constant(np.array(3, "uint8")), around.constant(generator.integers(-9, 9, (4,)).astype("int8"))]
        around.op("MatMulInteger", a, weight, *zeros[: around.choose(0, 1, 2)])

    check_surroundings(LowerIntegerProducts(), build, least_hits=0.9)
