import numpy as np
import pytest

from npuopt.passes.move.move_quantizations import MoveQuantizations
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """<float s = {0.5}, uint8 p = {128}, float[3] t = {0.5, 1, 2}, uint8[3] m = {128, 0, 255},
    int64[2] shape = {4, 6}, int64[1] one = {1}, int64[1] two = {2}, int64 first = {0}>"""
FLOAT = f"(float[2, 3, 4] x) => (uint8[A, B, C] y) {CONSTANTS}"
BYTES = f"(uint8[2, 3, 4] q) => (float[A, B, C] y) {CONSTANTS}"


@pytest.mark.parametrize(
    ("move", "shape"),
    [
        ("Transpose<perm = [1, 2, 0]>(DATA)", "A, B, C"),
        ("Reshape(DATA, shape)", "A, B"),
        ("Slice(DATA, one, two, one)", "A, B, C"),
        ("Unsqueeze(DATA, one)", "A, B, C, D"),
        ("Gather<axis = 1>(DATA, first)", "A, B"),
    ],
)
def test_data_is_moved_as_integers(move, shape):
    head = FLOAT.replace("A, B, C", shape)
    before = f"a = {move.replace('DATA', 'x')} y = QuantizeLinear(a, s, p)"
    after = f"a = QuantizeLinear(x, s, p) y = {move.replace('DATA', 'a')}"
    assert_rewrites(MoveQuantizations(), f"{head} {{{before}}}", f"{head} {{{after}}}", tolerance=0)
    head = BYTES.replace("A, B, C", shape)
    before = f"a = DequantizeLinear(q, s, p) y = {move.replace('DATA', 'a')}"
    after = f"a = {move.replace('DATA', 'q')} y = DequantizeLinear(a, s, p)"
    assert_rewrites(MoveQuantizations(), f"{head} {{{before}}}", f"{head} {{{after}}}", tolerance=0)


def test_the_axis_of_scales_by_channel_goes_with_a_transpose():
    turn = "Transpose<perm = [1, 2, 0]>"
    assert_rewrites(
        MoveQuantizations(),
        f"{FLOAT} {{a = {turn}(x) y = QuantizeLinear<axis = 0>(a, t, m)}}",
        f"{FLOAT} {{a = QuantizeLinear<axis = 1>(x, t, m) y = {turn}(a)}}",
    )
    assert_rewrites(
        MoveQuantizations(),
        f"{BYTES} {{a = DequantizeLinear<axis = 1>(q, t, m) y = {turn}(a)}}",
        f"{BYTES} {{a = {turn}(q) y = DequantizeLinear<axis = 0>(a, t, m)}}",
    )


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (f"{FLOAT} {{a = Relu(x) y = QuantizeLinear(a, s, p)}}", None),
        (f"{FLOAT} {{y = QuantizeLinear(x, s, p)}}", None),
        (f"{BYTES} {{a = DequantizeLinear(q, s, p) y = Neg(a)}}", None),
        (
            f"{FLOAT.replace('A, B, C', '2, 3, 4, 1')} {{a = Unsqueeze(x, minus) y = QuantizeLinear(a, t, m)}}".replace(
                "float s", "int64[1] minus = {-1}, float s"
            ),
            "Unsqueeze may move the axis of its scales",
        ),
        (
            f"{FLOAT} {{a = Transpose(x) y = QuantizeLinear(a, s, p) z = Neg(a)}}".replace(
                "C] y", "C] y, float[D,E,F] z"
            ),
            "a is read elsewhere too",
        ),
        (
            f"{FLOAT.replace('uint8[A', 'uint4[A')} {{a = Transpose(x) y = QuantizeLinear<output_dtype = 21>(a, s)}}",
            "narrower than a byte",
        ),
    ],
)
def test_what_is_not_only_moved_stays(text, because):
    assert_leaves(MoveQuantizations(), text.replace("}}", "}"), because=because)


def test_whatever_surrounds_quantized_data_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        scale = around.constant(np.array(around.choose(0.5, 0.1), np.float32), varies=False)
        point = around.constant(np.array(around.choose(0, 3), around.choose("int8", "uint8")), varies=False)
        value = around.op("Neg", around.input(2, 3, 4))
        if around.choose(True, False):
            value = around.op("Transpose", value, perm=around.choose([0, 2, 1], [2, 1, 0]))
        quantized = around.op("QuantizeLinear", value, scale, point)
        back = around.op("DequantizeLinear", quantized, scale, point)
        match around.choose("Reshape", "Transpose", "Slice"):
            case "Reshape":
                back = around.op("Reshape", back, around.constant(np.array([-1, 2])))
            case "Slice":
                back = around.op("Slice", back, around.constant(np.array([1])), around.constant(np.array([2])))
            case _:
                back = around.op("Transpose", back)
        around.op("Abs", back)

    check_surroundings(MoveQuantizations(), build, examples=40, least_hits=0.3, tolerance=0)
