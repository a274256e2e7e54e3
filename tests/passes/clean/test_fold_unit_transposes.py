import pytest

from npuopt.passes.clean.fold_unit_transposes import FoldUnitTransposes
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_a_transpose_of_ones_is_a_reshape():
    report = assert_rewrites(
        FoldUnitTransposes(),
        "(float[1, 1, 6, 4] x) => (float[1, 6, 1, 4] y) {y = Transpose<perm = [0, 2, 1, 3]>(x)}",
        "(float[1, 1, 6, 4] x) => (float[1, 6, 1, 4] y) <int64[4] s = {1, 6, 1, 4}> {y = Reshape(x, s)}",
        tolerance=0,
    )
    assert report.changed[0].text == "is a Reshape to [1, 6, 1, 4]"


def test_without_an_order_the_axes_are_reversed():
    assert_rewrites(
        FoldUnitTransposes(),
        "(float[1, 5] x) => (float[5, 1] y) {y = Transpose(x)}",
        "(float[1, 5] x) => (float[5, 1] y) <int64[2] s = {5, 1}> {y = Reshape(x, s)}",
    )


def test_an_empty_tensor_keeps_its_zero():
    assert_rewrites(
        FoldUnitTransposes(),
        "(float[1, 0] x) => (float[0, 1] y) {y = Transpose(x)}",
        "(float[1, 0] x) => (float[0, 1] y) <int64[2] s = {0, 1}> {y = Reshape<allowzero = 1>(x, s)}",
    )


@pytest.mark.parametrize(
    ("shape", "because"),
    [("1, 2, 3", None), ("2, 1, 1", "its input's shape is ['N', 1, 1], not known in full"), ("1, 1, 4", None)],
)
def test_what_moves_data_or_nothing_stays(shape, because):
    order = "0, 1, 2" if shape == "1, 1, 4" else "1, 2, 0" if because else "0, 2, 1"
    given = shape.replace("2, 1, 1", "N, 1, 1")
    text = f"(float[{given}] x) => (float[A, B, C] y) {{y = Transpose<perm = [{order}]>(x)}}"
    assert_leaves(FoldUnitTransposes(), text, because=because)


def test_whatever_surrounds_a_transpose_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        shape = [around.choose(1, 1, 2, 3) for _ in range(3)]
        order = around.choose([0, 2, 1], [1, 0, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0])
        value = around.op("Transpose", around.op("Relu", around.input(*shape)), perm=order)
        around.op("Neg", value)

    check_surroundings(FoldUnitTransposes(), build, examples=50, tolerance=0)
