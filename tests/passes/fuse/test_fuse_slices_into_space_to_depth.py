import numpy as np
import pytest

from npuopt.passes.fuse.fuse_slices_into_space_to_depth import FuseSlicesIntoSpaceToDepth
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

WEIGHTS = "2, 1, 0, 3, 5, -1, 4, 7"
SIGNATURE = f"""(float[1, 2, 4, 6] x) => (float[1, 1, 2, 3] y) <float[1, 8, 1, 1] w = {{{WEIGHTS}}},
    int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}},
    int64[1] three = {{3}}, int64[1] end = {{9223372036854775807}}>"""
FOCUS = """even = Slice(x, zero, end, two, two) odd = Slice(x, one, end, two, two)
    a = Slice(even, zero, end, three, two) b = Slice(odd, zero, end, three, two)
    c = Slice(even, one, end, three, two) d = Slice(odd, one, end, three, two)"""
BEFORE = f"{SIGNATURE} {{{FOCUS} z = Concat<axis = 1>(a, b, c, d) y = Conv(z, w)}}"


def test_the_phases_of_focus_go_into_the_weights():
    moved = SIGNATURE.replace("<float", "<float[1, 8, 1, 1] v = {2, 1, 5, -1, 0, 3, 4, 7}, float")
    after = f"{moved} {{z = SpaceToDepth<blocksize = 2>(x) y = Conv(z, v)}}"
    assert_rewrites(FuseSlicesIntoSpaceToDepth(), BEFORE, after)


def test_phases_in_the_order_of_the_op_need_no_convolution():
    signature = SIGNATURE.replace("1, 1, 2, 3] y", "1, 8, 2, 3] y")
    before = f"{signature} {{{FOCUS} y = Concat<axis = -3>(a, c, b, d)}}"
    after = f"{signature} {{y = SpaceToDepth<blocksize = 2>(x)}}"
    assert_rewrites(FuseSlicesIntoSpaceToDepth(), before, after, tolerance=0)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("(a, b, c, d)", "(a, b, c, c)"), "not the 4 phases"),
        (BEFORE.replace("y = Conv(z, w)", "t = Relu(z) y = Conv(t, w)"), "others than convolutions see them"),
        (BEFORE.replace("2, 3] y)", "2, 3] y, float[1, 8, 2, 3] z)"), "others than convolutions see them"),
        (BEFORE.replace("1, 2, 4, 6] x", "N, 2, 4, 6] x").replace("1, 1, 2, 3] y", "N, 1, 2, 3] y"), None),
        (BEFORE.replace("even = Slice(x, zero, end, two, two)", "even = Slice(x, zero, end, two, two) r = Relu(x)")
         .replace("odd = Slice(x", "odd = Slice(r"), None),
        (BEFORE.replace("axis = 1>(a, b, c, d)", "axis = 1>(a, b, c)").replace("[1, 8, 1, 1]", "[1, 6, 1, 1]")
         .replace(", 4, 7}", "}"), None),
        (BEFORE.replace("[1, 2, 4, 6] x", "[1, 2, 2, 2] x").replace("1, 2, 3] y", "1, 1, 1] y")
         .replace("float[", "double["), "phases"),
    ],
)  # fmt: skip
def test_leaves_other_concats(text, because):
    if because == "phases":
        text = text.replace("(a, b, c, d)", "(a, b, b, d)")
    assert_leaves(FuseSlicesIntoSpaceToDepth(), text, because=because)


def test_blocks_of_three_in_any_order():
    phases = [(row, column) for row in range(3) for column in range(3)][::-1]
    constants = ", ".join(f"int64[2] s{row}{column} = {{{row}, {column}}}" for row, column in phases)
    slices = " ".join(f"p{row}{column} = Slice(x, s{row}{column}, ends, axes, steps)" for row, column in phases)
    weights = ", ".join(str(number % 5 - 2) for number in range(18))
    text = f"""(float[2, 1, 3, 6] x) => (float[2, 2, 1, 2] y) <float[2, 9, 1, 1] w = {{{weights}}}, {constants},
        int64[2] ends = {{99, 99}}, int64[2] axes = {{-2, -1}}, int64[2] steps = {{3, 3}}> {{
        {slices} z = Concat<axis = 1>({", ".join(f"p{row}{column}" for row, column in phases)}) y = Conv(z, w)
    }}"""
    assert_rewrites(FuseSlicesIntoSpaceToDepth(), text, None)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 4, 2))
        phases = around.choose([(0, 0), (1, 0), (0, 1), (1, 1)], [(0, 0), (0, 1), (1, 0), (1, 1)])
        ends, axes, steps = (around.constant(np.array(item), varies=False) for item in ([9, 9], [2, 3], [2, 2]))
        parts = [
            around.op("Slice", x, around.constant(np.array(start), varies=False), ends, axes, steps) for start in phases
        ]
        joined = around.op("Concat", *parts, axis=1)
        weight = np.random.default_rng(0).normal(size=(3, 8, 2, 1)).astype("f")
        for _ in range(around.choose(1, 2)):
            around.op("Conv", joined, around.constant(weight, varies=around.choose(True, False)))

    check_surroundings(FuseSlicesIntoSpaceToDepth(), build, examples=40, least_hits=0.3)
