import numpy as np
import pytest

from npuopt.passes.clean.drop_neutral_operands import DropNeutralOperands
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SPECIAL = {"x": np.array([[np.nan, np.inf, -np.inf], [-0.0, 0.0, 1e-40]], np.float32)}


@pytest.mark.parametrize(
    ("node", "constant"),
    [
        ("Mul(a, c)", "1"),
        ("Mul(c, a)", "1"),
        ("Div(a, c)", "1"),
        ("Pow(a, c)", "1"),
        ("Max(a, c)", "-inf"),
        ("Max(c, a)", "-inf"),
        ("Min(a, c)", "inf"),
        ("Sub(a, c)", "0"),
        ("Add(a, c)", "-0.0"),
        ("Add(c, a)", "-0.0"),
    ],
)
def test_float_arithmetic_that_changes_no_bit_goes(node, constant):
    before = f"(float[2, 3] x) => (float[2, 3] y) <float c = {{{constant}}}> {{a = Neg(x) b = {node} y = Neg(b)}}"
    after = f"(float[2, 3] x) => (float[2, 3] y) <float c = {{{constant}}}> {{a = Neg(x) y = Neg(a)}}"
    assert_rewrites(DropNeutralOperands(), before, after, feeds=SPECIAL, tolerance=0)


@pytest.mark.parametrize("node", ["Add(x, zeros)", "Add(zeros, x)", "Mul(x, one)", "Div(x, one)", "Sub(x, zeros)"])
def test_integers_have_one_zero(node):
    text = "(int32[N, 3] x) => (int32[N, 3] y) <int32[3] zeros = {0, 0, 0}, int32 one = {1}> {NODE y = Neg(a)}"
    assert_rewrites(
        DropNeutralOperands(), text.replace("NODE", f"a = {node}"), text.replace("NODE", "").replace("(a)", "(x)")
    )


@pytest.mark.parametrize("node", ["And(x, on)", "Or(off, x)", "Xor(x, off)"])
def test_logic_goes(node):
    text = "(bool[N] x, bool[N] z) => (bool[N] y) <bool on = {1}, bool off = {0}> {NODE y = Not(a)}"
    assert_rewrites(
        DropNeutralOperands(), text.replace("NODE", f"a = {node}"), text.replace("NODE", "").replace("(a)", "(x)")
    )


@pytest.mark.parametrize("node", ["Where(on, x, z)", "Where(off, z, x)", "Where(one, x, given)"])
def test_a_choice_that_is_made_goes(node):
    text = """(float[N, 3] x, float[N, 3] z, float given) => (float[N, 3] y)
        <bool[3] on = {1, 1, 1}, bool off = {0}, bool[1] one = {1}> {NODE y = Neg(a)}"""
    before, after = text.replace("NODE", f"a = {node}"), text.replace("NODE", "").replace("(a)", "(x)")
    assert_rewrites(DropNeutralOperands(), before, after)


def test_positive_zero_goes_where_its_sign_cannot_be_seen():
    text = "(float[2, 3] x) => (float[2, 3] y) <float c = {0}> {a = Neg(x) NODE y = Softmax(b)}"
    before, after = text.replace("NODE", "b = Add(a, c)"), text.replace("NODE", "").replace("(b)", "(a)")
    assert_rewrites(DropNeutralOperands(), before, after, tolerance=0)


@pytest.mark.parametrize(
    ("node", "because"),
    [
        ("y = Add(x, zero)", "the sign can be seen"),
        ("y = Sub(x, minus)", "the sign can be seen"),
        ("y = Mul(x, wide)", "broadcasts"),
        ("y = Mul(x, one)", "y is a graph output, and x cannot be it too"),
        ("y = Sub(zero, x)", None),
        ("y = Div(one, x)", None),
        ("y = Where(some, x, nearly)", None),
        ("y = Mul(x, nearly)", None),
        ("y = Mul(x, given)", None),
    ],
)
def test_what_only_looks_neutral_stays(node, because):
    shape = "2, 3" if "wide" in node else "3"
    text = f"""(float[3] x, float given) => (float[{shape}] y)
        <float zero = {{0}}, float minus = {{-0.0}}, float one = {{1}}, bool[3] some = {{1, 0, 1}},
         float[3] nearly = {{1, 1, 1.001}},
         float[2, 3] wide = {{1, 1, 1, 1, 1, 1}}, float given = {{1}}> {{{node}}}"""
    assert_leaves(DropNeutralOperands(), text, because=because)


def test_whatever_surrounds_a_neutral_operand_keeps_its_bits():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, declared=around.choose(None, ("N", 3))))
        op, number = around.choose(("Add", 0.0), ("Add", -0.0), ("Mul", 1.0), ("Div", 1.0), ("Sub", 0.0), ("Sub", -0.0))
        shape = around.choose((), (1,), (3,), (2, 3), (1, 2, 3))
        c = around.constant(np.full(shape, number, np.float32))
        value = around.op(op, c, x) if op in ("Add", "Mul") and around.choose(True, False) else around.op(op, x, c)
        around.op(around.choose("Softmax", "Neg"), value)

    check_surroundings(DropNeutralOperands(), build, examples=60, least_hits=0.2, tolerance=0)
