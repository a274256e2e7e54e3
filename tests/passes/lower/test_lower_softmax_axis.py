import pytest

from npuopt.passes.lower.lower_softmax_axis import LowerSoftmaxAxis
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [1, -2])
def test_the_axis_comes_last_and_goes_back(op, axis):
    signature = "(float[M, 3, N] x) => (float[M, 3, N] y)"
    assert_rewrites(
        LowerSoftmaxAxis(),
        f"{signature} {{y = {op}<axis = {axis}>(x)}}",
        f"""{signature} {{
            t = Transpose<perm = [0, 2, 1]>(x) s = {op}<axis = -1>(t) y = Transpose<perm = [0, 2, 1]>(s)
        }}""",
    )


def test_leaves_the_last_axis():
    for axis in (-1, 2):
        text = f"(float[M, 3, N] x) => (float[M, 3, N] y) {{y = Softmax<axis = {axis}>(x)}}"
        assert_leaves(LowerSoftmaxAxis(), text, because=None)
    unknown = (
        "(float[M, N] x, int64[K] s) => (float[A, B] y) {r = Reshape(x, s) t = Softmax<axis = 0>(r) y = Add(t, x)}"
    )
    assert_leaves(LowerSoftmaxAxis(), unknown, because="rank of its input is not known")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 4))
        around.op(around.choose("Softmax", "LogSoftmax"), x, axis=around.choose(-3, -2, -1, 0, 1))

    check_surroundings(LowerSoftmaxAxis(), build, least_hits=0.6)
