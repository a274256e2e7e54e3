import pytest

from npuopt.passes.fuse.fuse_consecutive_transposes import FuseConsecutiveTransposes
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


@pytest.mark.parametrize(
    ("first", "second", "after"),
    [
        ("perm = [1, 2, 0]", "perm = [1, 2, 0]", "y = Transpose<perm = [2, 0, 1]>(x)"),
        ("perm = [0, 2, 1]", "perm = [2, 1, 0]", "y = Transpose<perm = [1, 2, 0]>(x)"),
        ("perm = [1, 2, 0]", "perm = [2, 0, 1]", "y = Identity(x)"),
    ],
)
def test_two_become_one_or_none(first, second, after):
    signature = "(float[2, 3, 4] x) => (float[A, B, C] y)"
    before = f"{signature} {{a = Transpose<{first}>(x) y = Transpose<{second}>(a)}}"
    assert_rewrites(FuseConsecutiveTransposes(), before, f"{signature} {{{after}}}", tolerance=0)


def test_no_perm_reverses_the_axes():
    before = "(float[2, 3, 4] x) => (float[2, 3, 4] y) {a = Transpose(x) b = Transpose(a) y = Neg(b)}"
    assert_rewrites(FuseConsecutiveTransposes(), before, "(float[2, 3, 4] x) => (float[2, 3, 4] y) {y = Neg(x)}")


def test_the_first_stays_for_its_other_readers():
    signature = "(float[2, 3] x) => (float[2, 3] y, float[3, 2] a)"
    before = f"{signature} {{a = Transpose<perm = [1, 0]>(x) b = Transpose<perm = [1, 0]>(a) y = Neg(b)}}"
    assert_rewrites(FuseConsecutiveTransposes(), before, f"{signature} {{a = Transpose<perm = [1, 0]>(x) y = Neg(x)}}")


def test_leaves_a_reversal_of_unknown_rank():
    text = """<ir_version: 12, opset_import: ["" : 24, "mine" : 1]>
        g (float[2, 3] x) => (float[2, 3] y) {u = mine.Odd(x) a = Transpose(u) b = Transpose(a) y = Neg(b)}"""
    assert_leaves(FuseConsecutiveTransposes(), text, because="number of axes is not known")


def test_leaves_a_single_transpose():
    text = "(float[2, 3] x) => (float[3, 2] y) {a = Neg(x) y = Transpose(a)}"
    assert_leaves(FuseConsecutiveTransposes(), text, because=None)


def test_numbers_in_any_surroundings():
    orders = ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])

    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 4))
        for _ in range(around.choose(2, 3)):
            x = around.op("Transpose", x, perm=around.choose(*orders))

    check_surroundings(FuseConsecutiveTransposes(), build, least_hits=0.9, tolerance=0)
