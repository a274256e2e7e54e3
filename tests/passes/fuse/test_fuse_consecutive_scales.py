import numpy as np
import pytest

from npuopt.passes.fuse.fuse_consecutive_scales import FuseConsecutiveScales
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = "<float six = {6}, float three = {3}, float[1] half = {0.5}, float zero = {0}, float[4] row = {1, 2, 3, 4}>"
SIGNATURE = f"(float[N, 4] x) => (float[N, 4] y) {CONSTANTS}"
BEFORE = f"{SIGNATURE} {{a = Mul(six, x) y = Div(a, three)}}"


@pytest.mark.parametrize(
    ("formula", "factor"),
    [
        ("a = Mul(six, x) y = Div(a, three)", "2"),
        ("a = Div(x, half) y = Div(a, half)", "4"),
    ],
)
def test_a_chain_becomes_one_product(formula, factor):
    after = f"{SIGNATURE[:-1]}, float factor = {{{factor}}}> {{y = Mul(x, factor)}}"
    assert_rewrites(FuseConsecutiveScales(), f"{SIGNATURE} {{{formula}}}", after)


def test_a_longer_chain():
    report = assert_rewrites(
        FuseConsecutiveScales(), f"{SIGNATURE} {{a = Mul(x, six) b = Mul(a, half) y = Mul(three, b)}}", None
    )
    assert [entry.text for entry in report.changed] == ["became one product with 3", "became one product with 9"]


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("4] y)", "4] y, float[N, 4] a)"), "'a' is read elsewhere or is a graph output"),
        (BEFORE.replace("three = {3}", "three = {0}"), "zero or far from 1"),
        (BEFORE.replace("six = {6}", "six = {1e30}"), "zero or far from 1"),
        (BEFORE.replace("float six = {6}", "float16 six = {6}").replace("float three", "float16 three")
         .replace("float[N", "float16[N"), "computes in FLOAT16"),
        (BEFORE.replace("[N, 4] y", "[1, N, 4] y").replace("float six", "float[1, 1, 1] six"), "raises the rank"),
        (BEFORE.replace("Div(a, three)", "Div(three, a)"), None),
        (BEFORE.replace("Mul(six, x)", "Mul(row, x)"), None),
    ],
)  # fmt: skip
def test_leaves_other_products(text, because):
    assert_leaves(FuseConsecutiveScales(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        value = around.op("Neg", around.input(2, 3))
        for _ in range(3):
            factor = np.array(around.choose(2.0, -0.3, 7.0, 0.0), "f").reshape(around.choose((), (1,), (1, 1, 1)))
            op_type = around.choose("Mul", "Mul", "Div")
            value = around.op(op_type, value, around.constant(factor), company=around.choose(True, False))

    check_surroundings(FuseConsecutiveScales(), build, examples=60, least_hits=0.15)
