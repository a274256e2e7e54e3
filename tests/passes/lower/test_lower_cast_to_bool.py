import numpy as np

from npuopt.passes.lower.lower_cast_to_bool import LowerCastToBool
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(int64[N] x) => (bool[N] y) {y = Cast<to = 9>(x)}"


def test_becomes_a_comparison_with_zero():
    assert_rewrites(
        LowerCastToBool(), BEFORE, "(int64[N] x) => (bool[N] y) <int64 zero = {0}> {a = Equal(x, zero) y = Not(a)}"
    )


def test_what_is_no_number_is_true():
    feeds = {"x": np.array([0, -0.0, np.nan, np.inf, 1e-40], "f")}
    text = "(float[5] x) => (bool[5] y) {y = Cast<to = 9>(x)}"
    assert_rewrites(LowerCastToBool(), text, None, feeds=feeds, seeds=[0])


def test_narrow_integers_go_by_int32():
    text = "(uint8[N] x) => (bool[N] y) {y = Cast<to = 9>(x)}"
    after = "(uint8[N] x) => (bool[N] y) <int32 zero = {0}> {i = Cast<to = 6>(x) a = Equal(i, zero) y = Not(a)}"
    assert_rewrites(LowerCastToBool(by_int32=True), text, after)
    feeds = {"x": np.array([0, 1, 2**31, 2**32 - 1], "uint32")}
    wide = text.replace("uint8[N]", "uint32[4]").replace("bool[N]", "bool[4]")
    assert_rewrites(LowerCastToBool(by_int32=True), wide, None, feeds=feeds, seeds=[0])
    assert LowerCastToBool(by_int32=True) in LowerCastToBool().forms()
    for kind in ("int64", "float"):
        other = text.replace("uint8", kind)
        assert_leaves(LowerCastToBool(by_int32=True), other, because="which int32 does not hold")


def test_leaves_strings_and_other_casts():
    assert_leaves(LowerCastToBool(), "(bool[N] x) => (bool[N] y) {y = Cast<to = 9>(x)}", because="no zero")
    assert_leaves(LowerCastToBool(), "(int64[N] x) => (float[N] y) {y = Cast<to = 1>(x)}", because=None)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Cast", around.op("Abs", around.input(2, 3, dtype=around.choose("int32", "float32"))), to=9)

    check_surroundings(LowerCastToBool(), build, least_hits=0.9)
