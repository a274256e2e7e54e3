import numpy as np
import pytest

from npuopt.passes.fuse.fuse_consecutive_reshapes import FuseConsecutiveReshapes
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_two_static_reshapes_become_one():
    signature = "(float[2, 3, 4] x) => (float[4, 6] y)"
    assert_rewrites(
        FuseConsecutiveReshapes(),
        f"{signature} <int64[2] s = {{6, 4}}, int64[2] t = {{4, 6}}> {{a = Reshape(x, s) y = Reshape(a, t)}}",
        f"""{signature} <int64[2] s = {{6, 4}}, int64[2] t = {{4, 6}}, int64[2] u = {{4, 6}}>
        {{y = Reshape(x, u)}}""",
    )


def test_back_to_the_first_shape_is_nothing():
    signature = "(float[2, 3] x) => (float[2, 3] y) <int64[1] axis = {1}>"
    before = f"{signature} {{a = Unsqueeze(x, axis) b = Squeeze(a, axis) y = Neg(b)}}"
    assert_rewrites(FuseConsecutiveReshapes(), before, f"{signature} {{y = Neg(x)}}")


def test_a_zero_that_copies_is_written_out():
    signature = "(float[N, 6] x) => (float[3, M] y) <int64[3] s = {3, -1, 2}, int64[2] t = {0, -1}"
    before = f"{signature}> {{a = Reshape(x, s) y = Reshape(a, t)}}"
    after = f"{signature}, int64[2] u = {{3, -1}}> {{y = Reshape(x, u)}}"
    assert_rewrites(FuseConsecutiveReshapes(), before, after, tolerance=0)


def test_a_symbolic_dim_is_copied_from_where_it_stays():
    signature = "(float[N, 6] x) => (float[N, 6] y) <int64[3] s = {0, 3, 2}, int64[2] t = {0, -1}"
    before = f"{signature}> {{a = Reshape(x, s) y = Reshape(a, t)}}"
    after = f"{signature}, int64[2] u = {{0, -1}}> {{y = Reshape(x, u)}}"
    assert_rewrites(FuseConsecutiveReshapes(), before, after, tolerance=0)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (
            """(float[N, M] x) => (float[K, L] y) <int64[3] s = {-1, 2, 1}, int64[2] t = {0, -1}>
            {a = Reshape(x, s) y = Reshape(a, t)}""",
            "dim 0 copies one that is not known",
        ),
        (
            "(float[N, M] x, int64[2] t) => (float[K, L] y) <int64[1] s = {-1}> {a = Reshape(x, s) y = Reshape(a, t)}",
            "not static",
        ),
        (
            """(float[0, 4] x) => (float[2, 0] y) <int64[1] s = {0}, int64[2] t = {2, 0}>
            {a = Reshape(x, s) y = Reshape<allowzero = 1>(a, t)}""",
            "no elements",
        ),
        ("(float[2, 3] x) => (float[6] y) <int64[1] s = {6}> {a = Neg(x) y = Reshape(a, s)}", None),
    ],
)
def test_leaves_what_cannot_be_written_down(text, because):
    assert_leaves(FuseConsecutiveReshapes(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(4, 6, declared=around.choose(None, ("N", 6))))
        for _ in range(around.choose(2, 3)):
            shape = around.choose([0, -1], [0, -1, 2], [-1, 3, 2], [2, -1], [-1, 24], [-1, 1, 4])
            x = around.op("Reshape", x, around.constant(np.array(shape), varies=False))

    check_surroundings(FuseConsecutiveReshapes(), build, examples=80, least_hits=0.5, tolerance=0)
