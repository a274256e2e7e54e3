import numpy as np
import pytest

from npuopt.passes.fuse.fuse_consecutive_slices import FuseConsecutiveSlices
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BOUNDS = "int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] end = {9223372036854775807}"
SIGNATURE = f"(float[N, 4, 5] x) => (float[N, A, B] y) <{BOUNDS}"


def test_slices_of_different_axes_are_one():
    assert_rewrites(
        FuseConsecutiveSlices(),
        f"{SIGNATURE}> {{a = Slice(x, zero, two, two) y = Slice(a, one, end, one)}}",
        f"""{SIGNATURE}, int64[2] s = {{1, 0}}, int64[2] e = {{9223372036854775807, 2}}, int64[2] axes = {{1, 2}},
        int64[2] steps = {{1, 1}}> {{y = Slice(x, s, e, axes, steps)}}""",
        tolerance=0,
    )


def test_slices_of_one_axis_keep_what_both_keep():
    assert_rewrites(
        FuseConsecutiveSlices(),
        f"{SIGNATURE}> {{a = Slice(x, one, end, two) y = Slice(a, one, end, two, two)}}",
        f"""{SIGNATURE}, int64[1] s = {{2}}, int64[1] e = {{5}}, int64[1] axes = {{2}}, int64[1] steps = {{2}}>
        {{y = Slice(x, s, e, axes, steps)}}""",
        tolerance=0,
    )


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (f"{SIGNATURE}> {{a = Slice(x, zero, two, zero) y = Slice(a, one, end, zero)}}", "axis 0 twice"),
        (
            f"{SIGNATURE}> {{a = Slice(x, zero, two, two) y = Slice(a, one, b, one)}}".replace(
                "5] x", "5] x, int64[1] b"
            ),
            "not constant",
        ),
        (
            f"{SIGNATURE}> {{a = Slice(x, zero, two, two) y = Slice(a, one, end, one)}}".replace(
                "B] y", "B] y, float[N, 4, C] a"
            ),
            "'a' is read elsewhere or is a graph output",
        ),
        (f"{SIGNATURE}> {{y = Slice(x, zero, two, two)}}", None),
    ],
)
def test_leaves_what_is_not_known(text, because):
    assert_leaves(FuseConsecutiveSlices(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        value = around.op("Neg", around.input(7, 6))
        for _ in range(2):
            starts, ends, step = around.choose(
                (0, 4, 1), (1, 99, 2), (-3, -1, 1), (-1, -99, -1), (5, 0, -2), (3, 3, 1), (-99, 5, 3), (99, 1, -1)
            )
            bounds = [around.constant(np.array([number]), varies=False) for number in (starts, ends)]
            axis = around.constant(np.array([around.choose(0, 1, -1)]), varies=False)
            value = around.op("Slice", value, *bounds, axis, around.constant(np.array([step]), varies=False))

    check_surroundings(FuseConsecutiveSlices(), build, examples=150, least_hits=0.2, tolerance=0)
