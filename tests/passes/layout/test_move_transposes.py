import numpy as np
import pytest

from npuopt.graph import nodes
from npuopt.passes.layout.move_transposes import MoveTransposes
from support.descriptors import target_with
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """<float zero = {0}, float six = {6}, float[2] c = {1, 2}, float[4] g = {1, 2, 3, 4}, int64[1] one = {1},
    int64[1] two = {2}, int64[6] pads = {0, 1, 0, 0, 0, 2}, float[2] scales = {1, 2}, uint8[2] points = {3, 4}>"""
SIGNATURE = f"(float[2, 3, 4] x, float[2, 3, 4] z) => (float[A, B, C] y) {CONSTANTS}"
LAST, FIRST = "Transpose<perm = [1, 2, 0]>", "Transpose<perm = [2, 0, 1]>"


def rewritten(before, after, new_constant=""):
    expected = SIGNATURE.replace("float zero", f"{new_constant}, float zero") if new_constant else SIGNATURE
    return assert_rewrites(MoveTransposes(), f"{SIGNATURE} {{{before}}}", f"{expected} {{{after}}}")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"a = {LAST}(x) b = Relu(a) y = {FIRST}(b)", "y = Relu(x)"),
        (f"a = {LAST}(x) b = Relu(a) d = Clip(b, zero, six) y = {FIRST}(d)", "b = Relu(x) y = Clip(b, zero, six)"),
        (f"a = {LAST}(x) b = {LAST}(z) y = Add(a, b)", f"a = Add(x, z) y = {LAST}(a)"),
        (f"a = {LAST}(x) e = Neg(a) b = {LAST}(z) y = Add(e, b)", f"e = Neg(x) a = Add(e, z) y = {LAST}(a)"),
        (
            f"a = {LAST}(x) b = Concat<axis = 2>(a, a) y = {FIRST}(b)",
            "y = Concat<axis = 0>(x, x)",
        ),
        (f"a = {LAST}(x) b = Softmax(a) y = {FIRST}(b)", "y = Softmax<axis = 0>(x)"),
        (
            f"a = {LAST}(x) b = Relu(a) d = Transpose<perm = [0, 2, 1]>(b) y = Abs(d)",
            "b = Relu(x) d = Transpose<perm = [1, 0, 2]>(b) y = Abs(d)",
        ),
    ],
)
def test_the_order_with_the_fewest_transposes_is_taken(before, after):
    rewritten(before, after)


@pytest.mark.parametrize(
    ("before", "after", "constant"),
    [
        ("b = Pad(a, pads)", "y = Pad(x, moved)", "int64[6] moved = {0, 0, 1, 2, 0, 0}"),
        ("b = ReduceSum(a, one)", "y = ReduceSum(x, moved)", "int64[1] moved = {2}"),
        ("b = Slice(a, one, two, one)", "y = Slice(x, one, two, moved)", "int64[1] moved = {2}"),
        ("b = Add(a, c)", "y = Add(x, moved)", "float[2, 1, 1] moved = {1, 2}"),
        (
            "q = QuantizeLinear<axis = 2>(a, scales, points) b = DequantizeLinear<axis = 2>(q, scales, points)",
            "q = QuantizeLinear<axis = 0>(x, scales, points) y = DequantizeLinear<axis = 0>(q, scales, points)",
            "",
        ),
    ],
)
def test_axes_pads_and_constants_move_along(before, after, constant):
    rewritten(f"a = {LAST}(x) {before} y = {FIRST}(b)", after, constant)


def test_one_part_may_have_several_borders():
    """Two Transposes go for one that comes: the graph output that is read as it was."""
    report = assert_rewrites(
        MoveTransposes(),
        f"{SIGNATURE.replace('C] y', 'C] y, float[D, E, F] d')} {{"
        f"a = {LAST}(x) b = {LAST}(z) d = Add(a, b) e = Relu(d) y = {FIRST}(e)}}",
        f"{SIGNATURE.replace('C] y', 'C] y, float[D, E, F] d')} {{s = Add(x, z) y = Relu(s) d = {LAST}(s)}}",
        tolerance=0,
    )
    assert report.notes == ["3 Transposes before, 1 after"]


@pytest.mark.parametrize(
    ("formula", "because"),
    [
        (f"a = {LAST}(x) y = Relu(a)", None),
        (f"a = {LAST}(x) y = Mul(a, a)", None),
        (f"a = {LAST}(x) b = {LAST}(a) y = Neg(b)", None),
        ("a = Relu(x) y = Neg(a)", None),
        (f"a = {LAST}(x) b = Transpose<perm = [2, 1, 0]>(w) y = Add(a, b)", None),
        (f"a = {LAST}(x) b = Add(a, v) y = Relu(b)", None),
        (f"a = {LAST}(x) b = Pad(a, p) y = {FIRST}(b)", "its pads are computed at run time"),
        (f"a = {LAST}(x) b = LayerNormalization(a, c) y = {FIRST}(b)", "it normalizes the last axis"),
    ],
)
def test_leaves_what_gains_nothing_or_cannot_be(formula, because):
    signature = SIGNATURE.replace("4] z", "4] z, float[2, 4, 3] w, float[3, 4, 2] v, int64[6] p")
    assert_leaves(MoveTransposes(), f"{signature} {{{formula}}}", because=because)


def test_a_normalization_whose_axis_stays_last_moves():
    swap = "Transpose<perm = [1, 0, 2]>"
    rewritten(f"a = {swap}(x) n = RMSNormalization(a, g) y = {swap}(n)", "y = RMSNormalization(x, g)")


def test_a_value_that_is_turned_within_its_part_is_turned_once():
    """The part reads its own value through a Transpose, which stays one."""
    model = model_from(
        f"{SIGNATURE} {{a = {LAST}(x) b = Relu(a) s = Transpose<perm = [1, 0, 2]>(b) k = Neg(s) "
        f"e = ReduceSum(k, one) l = ReduceSum(b, one) f = Mul(e, l) y = {FIRST}(f)}}"
    )
    before = len(nodes(model, "Transpose"))
    MoveTransposes()(model)
    assert len(nodes(model, "Transpose")) <= before


LAST_ONLY = """
  Softmax: {schemes: [fp16], when: [{attribute: axis, one_of: [-1, 2]}]}
  Transpose: {schemes: [fp16]}
"""


def test_what_the_target_takes_stays_in_a_form_that_it_takes():
    text = f"{SIGNATURE} {{a = {LAST}(x) b = Softmax(a) y = {FIRST}(b)}}"
    assert_leaves(
        MoveTransposes(), text, because="refuses the new order: attribute axis is 0", target=target_with(LAST_ONLY)
    )


def test_whatever_surrounds_transposes_keeps_its_numbers():
    orders = ([0, 2, 1], [1, 2, 0], [2, 1, 0])

    def build(around: Surroundings) -> None:
        order = around.choose(*orders)
        value = around.op("Transpose", around.op("Neg", around.input(3, 3, 3)), perm=order)
        for _ in range(around.choose(1, 2, 3)):
            match around.choose("Relu", "Mul", "Add", "Softmax", "Concat", "turn"):
                case "Mul":
                    shape = around.choose((3,), (3, 1), (1, 3, 1), (), (3, 3, 3))
                    value = around.op("Mul", value, around.constant(np.random.default_rng(0).random(shape).astype("f")))
                case "Softmax":
                    value = around.op("Softmax", value, axis=around.choose(0, 1, -1))
                case "Concat":
                    other = around.op("Transpose", around.input(3, 3, 3), perm=around.choose(order, *orders))
                    joined = around.op("Concat", value, other, axis=around.choose(0, 2, -1))
                    first, last = (around.constant(np.array([index] * 3), varies=False) for index in (0, 3))
                    value = around.op("Slice", joined, first, last)
                case "Add":
                    other = around.op("Transpose", around.input(3, 3, 3), perm=around.choose(order, *orders))
                    value = around.op("Add", other, value)
                case "turn":
                    turned = around.op("Transpose", value, perm=around.choose(*orders))
                    value = around.op("Add", turned, around.op("Abs", value))
                case _:
                    value = around.op("Relu", value)
        around.op("Transpose", value, perm=around.choose(*orders))

    check_surroundings(MoveTransposes(), build, examples=100, least_hits=0.12)
