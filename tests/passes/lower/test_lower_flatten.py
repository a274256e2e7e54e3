import pytest

from npuopt.passes.lower.lower_flatten import LowerFlatten
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


@pytest.mark.parametrize(
    ("axis", "result", "shape"), [(1, "[N, 12]", "-1, 12"), (-1, "[M, 4]", "-1, 4"), (0, "[1, M]", "1, -1")]
)
def test_becomes_a_reshape(axis, result, shape):
    signature = f"(float[N, 3, 4] x) => (float{result} y)"
    assert_rewrites(
        LowerFlatten(),
        f"{signature} {{y = Flatten<axis = {axis}>(x)}}",
        f"{signature} <int64[2] shape = {{{shape}}}> {{y = Reshape(x, shape)}}",
    )


def test_leaves_unknown_dims_on_both_sides():
    text = "(float[N, 3, M] x) => (float[N, K] y) {y = Flatten(x)}"
    assert_leaves(LowerFlatten(), text, because="both sides of axis 1")


def test_leaves_an_empty_tensor():
    text = "(float[2, 0, 3] x) => (float[2, 0] y) {y = Flatten(x)}"
    assert_leaves(LowerFlatten(), text, because="no elements")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Flatten", around.op("Neg", around.input(2, 3, 4)), axis=around.choose(0, 1, 2, 3, -1, -3))

    check_surroundings(LowerFlatten(), build, least_hits=0.9)
