from npuopt.passes.lower.lower_boolean_equal import LowerBooleanEqual
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(bool[N, 4] a, bool[4] b) => (bool[N, 4] y)"


def test_equal_is_both_or_neither():
    assert_rewrites(
        LowerBooleanEqual(),
        f"{SIGNATURE} {{y = Equal(a, b)}}",
        f"{SIGNATURE} {{c = And(a, b) d = Or(a, b) e = Not(d) y = Or(c, e)}}",
    )


def test_xor_is_one_of_them():
    assert_rewrites(
        LowerBooleanEqual(),
        f"{SIGNATURE} {{y = Xor(a, b)}}",
        f"{SIGNATURE} {{c = Or(a, b) d = And(a, b) e = Not(d) y = And(c, e)}}",
    )


def test_equal_of_numbers_is_not_meant():
    text = "(float[N] a, float[N] b) => (bool[N] y) {y = Equal(a, b)}"
    assert_leaves(LowerBooleanEqual(), text, because=None)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        a = around.op("Not", around.input(2, 3, dtype="bool"))
        around.op(around.choose("Equal", "Xor"), a, around.input(2, 3, dtype="bool"))

    check_surroundings(LowerBooleanEqual(), build, least_hits=0.9)
