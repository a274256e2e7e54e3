import pytest

from npuopt.passes.lower.lower_elementwise_rank import LowerElementwiseRank
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_the_outer_axes_become_one():
    signature = "(float[2, 3, 4, 5, 6] x) => (float[2, 3, 4, 5, 6] y)"
    assert_rewrites(
        LowerElementwiseRank(),
        f"{signature} {{y = LeakyRelu<alpha = 0.5>(x)}}",
        f"""{signature} <int64[4] a = {{6, 4, 5, 6}}, int64[5] b = {{2, 3, 4, 5, 6}}> {{
            p = Reshape(x, a) q = LeakyRelu<alpha = 0.5>(p) y = Reshape(q, b)
        }}""",
    )


@pytest.mark.parametrize(
    ("shapes", "ops"),
    [
        (("2, 3, 4, 5, 6", "5, 6"), "Reshape, Add, Reshape"),
        (("2, 1, 4, 5, 6", "3, 4, 5, 1"), "Reshape, Reshape, Add, Reshape"),
        (("2, 3, 4, 5, 6", ""), "Reshape, Add, Reshape"),
        (("1, 1, 1, 1, 6", "2, 3, 4, 5, 1"), "Reshape, Reshape, Add, Reshape"),
        (("2, 3, 4, 1, 2, 2", "2, 1, 1, 1, 2, 2"), "Reshape, Reshape, Add, Reshape"),
    ],
)
def test_what_is_repeated_along_one_axis_keeps_it(shapes, ops):
    left, right = shapes
    names = ", ".join("ABCDEF"[: left.count(",") + 1])
    text = f"(float[{left}] x, float[{right}] z) => (float[{names}] y) {{y = Add(x, z)}}".replace("float[]", "float")
    report = assert_rewrites(LowerElementwiseRank(), text, None, tolerance=0)
    assert report.changed[0].text == f"became {ops}"


def test_three_operands_of_different_types_and_optional_ones():
    text = """(bool[2, 1, 2, 2, 2] c, float[2, 2, 2, 2, 2] x, float[1] z) => (float[2, 2, 2, 2, 2] y)
        <float high = {1}> {w = Where(c, x, z) y = Clip(w, , high)}"""
    assert_rewrites(LowerElementwiseRank(), text, None, tolerance=0)


def test_leaves_low_ranks_crossed_operands_and_dynamic_shapes():
    text = "(float[2, 3, 4, 5] x) => (float[2, 3, 4, 5] y) {y = Neg(x)}"
    assert_leaves(LowerElementwiseRank(), text, because=None)
    crossed = "(float[2, 1, 4, 1, 6] x, float[1, 3, 1, 5, 1] z) => (float[2, 3, 4, 5, 6] y) {y = Mul(x, z)}"
    assert_leaves(LowerElementwiseRank(), crossed, because="have no axes to join")
    dynamic = "(float[N, 3, 4, 5, 6] x) => (float[N, 3, 4, 5, 6] y) {y = Neg(x)}"
    assert_leaves(LowerElementwiseRank(), dynamic, because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        left, right = around.choose(
            ((2, 2, 3, 2, 2), (2,)), ((2, 1, 3, 2, 2), (2, 2, 3, 1, 1)), ((1, 1, 2, 2, 1), (3, 2, 1, 2, 2))
        )
        around.op(around.choose("Add", "Mul", "Max"), around.op("Abs", around.input(*left)), around.input(*right))

    check_surroundings(LowerElementwiseRank(), build, least_hits=0.6, tolerance=0)
