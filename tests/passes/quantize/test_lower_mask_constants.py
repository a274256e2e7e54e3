import numpy as np
import pytest

from npuopt.passes.quantize.lower_mask_constants import LowerMaskConstants
from support.rewrites import assert_leaves, assert_rewrites

LOWER = LowerMaskConstants()


def test_a_mask_that_is_added():
    assert_rewrites(
        LOWER,
        "(float[2,2] x) => (float[2,2] y) <float[2,2] m = {0,-3.4e38,-1,0}> {s = Add(x, m) y = Softmax(s)}",
        "(float[2,2] x) => (float[2,2] y) <float[2,2] m = {0,-200,-1,0}> {s = Add(x, m) y = Softmax(s)}",
        tolerance=0,
    )


def test_a_zero_one_tensor_times_a_large_number():
    assert_rewrites(
        LOWER,
        """(bool[4] keep, float[4] x) => (float[4] y) <float far = {-1e9}, float one = {1}>
        {k = Cast<to=1>(keep) gone = Sub(one, k) m = Mul(gone, far) s = Add(x, m) y = Softmax(s)}""",
        """(bool[4] keep, float[4] x) => (float[4] y) <float far = {-200}, float one = {1}>
        {k = Cast<to=1>(keep) gone = Sub(one, k) m = Mul(gone, far) s = Add(x, m) y = Softmax(s)}""",
        feeds={"keep": np.array([True, False, True, False])},
        tolerance=0,
    )


def test_minus_infinity_between_which_and_scores_is_chosen():
    assert_rewrites(
        LOWER,
        """(bool[4] keep, float[4] x) => (float[4] y) <float far = {-1e999}>
        {s = Where(keep, x, far) y = Softmax(s)}""".replace("-1e999", "-3e38"),
        """(bool[4] keep, float[4] x) => (float[4] y) <float far = {-200}>
        {s = Where(keep, x, far) y = Softmax(s)}""",
        feeds={"keep": np.array([True, False, True, False])},
        tolerance=0,
    )


@pytest.mark.parametrize("spread", [95.0, 183.0])
def test_exact_up_to_the_spread_that_is_allowed_for(spread):
    report = assert_rewrites(
        LowerMaskConstants(),
        "(float[3] x) => (float[3] y) <float[3] m = {0,0,-1e30}> {s = Add(x, m) y = Softmax(s)}",
        None,
        feeds={"x": np.array([0, 1, spread], np.float32)},
        tolerance=0 if spread < 96 else 2.0**-24,
    )
    assert "-1e+30 is now -200" in report.changed[0].text


def test_the_limit_is_an_option():
    assert_rewrites(
        LowerMaskConstants(scores=10.0),
        "(float[2] x) => (float[2] y) <float[2] m = {0,-3.4e38}> {s = Add(x, m) y = Softmax(s)}",
        "(float[2] x) => (float[2] y) <float[2] m = {0,-114}> {s = Add(x, m) y = Softmax(s)}",
    )


def test_numbers_that_reach_something_else_are_left():
    assert_leaves(
        LOWER,
        "(float[2] x) => (float[2] y, float[2] s) <float[2] m = {0,-9999}> {s = Add(x, m) y = Softmax(s)}",
        because="graph output s",
    )


def test_masks_within_the_limit_are_left():
    text = "(float[2] x) => (float[2] y) <float[2] m = {0,-150}> {s = Add(x, m) y = Softmax(s)}"
    assert_leaves(LOWER, text, because=None)
