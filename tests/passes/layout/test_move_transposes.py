import numpy as np
import pytest

from npuopt.passes.layout.move_transposes import MoveTransposes
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = "<float zero = {0}, float six = {6}, float[2] c = {1, 2}>"
SIGNATURE = f"(float[2, 3, 4] x, float[2, 3, 4] z) => (float[A, B, C] y) {CONSTANTS}"
LAST, FIRST = "Transpose<perm = [1, 2, 0]>", "Transpose<perm = [2, 0, 1]>"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"a = {LAST}(x) b = Relu(a) y = {FIRST}(b)", f"b = Relu(x) a = {LAST}(b) y = {FIRST}(a)"),
        (
            f"a = {LAST}(x) b = Relu(a) d = Clip(b, zero, six) y = {FIRST}(d)",
            f"b = Relu(x) d = Clip(b, zero, six) a = {LAST}(d) y = {FIRST}(a)",
        ),
        (f"a = {LAST}(x) b = {LAST}(z) y = Add(a, b)", f"a = Add(x, z) y = {LAST}(a)"),
        (f"a = {LAST}(x) y = Mul(a, a)", None),
        (
            f"a = {LAST}(x) e = Neg(a) b = {LAST}(z) y = Add(e, b)",
            f"e = Neg(x) a = Add(e, z) y = {LAST}(a)",
        ),
    ],
)
def test_moves_where_it_meets_another(before, after):
    if after is None:
        assert_leaves(MoveTransposes(), f"{SIGNATURE} {{{before}}}", because=None)
    else:
        assert_rewrites(MoveTransposes(), f"{SIGNATURE} {{{before}}}", f"{SIGNATURE} {{{after}}}", tolerance=0)


def test_a_constant_is_transposed_back():
    before = f"{SIGNATURE} {{a = {LAST}(x) b = Add(a, c) y = {FIRST}(b)}}"
    after = f"""{SIGNATURE[:-1]}, float[2, 1, 1] d = {{1, 2}}> {{b = Add(x, d) a = {LAST}(b) y = {FIRST}(a)}}"""
    assert_rewrites(MoveTransposes(), before, after, tolerance=0)


@pytest.mark.parametrize(
    ("formula", "because"),
    [
        (f"a = {LAST}(x) b = {FIRST}(z) d = Relu(b) y = Concat<axis = 0>(a, a)", None),
        (f"a = {LAST}(x) y = Relu(a)", None),
        ("a = Relu(x) y = Neg(a)", None),
        ("a = Transpose<perm = [0, 1, 2]>(x) b = Transpose<perm = [0, 1, 2]>(z) y = Neg(a)", None),
        (f"a = {LAST}(x) b = Transpose<perm = [2, 1, 0]>(w) y = Add(a, b)", "different orders"),
        (f"a = {LAST}(x) b = Add(a, v) y = {FIRST}(b)", "'v' is neither transposed nor a constant"),
    ],
)
def test_leaves_what_gains_nothing(formula, because):
    signature = SIGNATURE.replace("4] z", "4] z, float[2, 4, 3] w, float[3, 4, 2] v")
    assert_leaves(MoveTransposes(), f"{signature} {{{formula}}}", because=because)


def test_leaves_a_transpose_that_is_read_elsewhere():
    text = f"{SIGNATURE} {{a = {LAST}(x) b = Relu(a) y = {FIRST}(b)}}".replace("C] y", "C] y, float[D, E, F] a")
    assert_leaves(MoveTransposes(), text, because="'a' is read elsewhere")


def test_numbers_in_any_surroundings():
    orders = ([0, 2, 1], [1, 2, 0], [2, 1, 0])

    def build(around: Surroundings) -> None:
        order = around.choose(*orders)
        value = around.op("Transpose", around.op("Neg", around.input(3, 3, 3)), perm=order)
        for _ in range(around.choose(1, 2)):
            match around.choose("Relu", "Mul", "Add"):
                case "Relu":
                    value = around.op("Relu", value)
                case "Mul":
                    shape = around.choose((3,), (3, 1), (1, 3, 1), (), (3, 3, 3))
                    value = around.op("Mul", value, around.constant(np.random.default_rng(0).random(shape).astype("f")))
                case _:
                    other = around.op("Transpose", around.input(3, 3, 3), perm=around.choose(order, *orders))
                    value = around.op("Add", other, value)
        around.op("Transpose", value, perm=around.choose(*orders))

    check_surroundings(MoveTransposes(), build, examples=80, least_hits=0.2)
