import numpy as np
import pytest

from npuopt.passes.lower.lower_resize import LowerResize
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[1, 1, 2, 3] x) => (float[1, 1, 4, 3] y) <float[4] s = {1, 1, 2, 1}"
BEFORE = f"{SIGNATURE}> {{y = Resize(x, , s)}}"


def test_the_nearest_neighbour_is_gathered():
    after = f"{SIGNATURE}, int64[4] rows = {{0, 0, 1, 1}}> {{y = Gather<axis = 2>(x, rows)}}"
    assert_rewrites(LowerResize(), BEFORE, after, tolerance=0)


def test_interpolation_is_a_product():
    after = f"""{SIGNATURE}, float[4, 2] rows = {{1, 0, 0.75, 0.25, 0.25, 0.75, 0, 1}}> {{y = MatMul(rows, x)}}"""
    assert_rewrites(LowerResize(), BEFORE.replace("Resize(", 'Resize<mode = "linear">('), after)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(
    "attributes",
    [
        'coordinate_transformation_mode = "align_corners"',
        'coordinate_transformation_mode = "asymmetric"',
        'coordinate_transformation_mode = "pytorch_half_pixel"',
        "axes = [3, 2]",
    ],
)
def test_every_kind_of_coordinates(mode, attributes):
    sizes = "int64[2] n = {5, 3}" if "axes" in attributes else "int64[4] n = {2, 3, 3, 5}"
    text = f"""(float[2, 3, 4, 4] x) => (float[2, 3, 3, 5] y) <{sizes}> {{
        y = Resize<mode = "{mode}", {attributes}>(x, , , n)
    }}"""
    assert_rewrites(LowerResize(), text, None, tolerance=1e-4)


def test_other_axes_than_those_of_an_image():
    text = """(float[2, 3, 4] x) => (float[4, 3, 4] y) <float[3] s = {2, 1, 1}> {y = Resize(x, , s)}"""
    assert_rewrites(LowerResize(), text, None, tolerance=0)


@pytest.mark.parametrize(
    ("attributes", "because"),
    [
        ('mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize"', "region of interest"),
        ('mode = "linear"', "not constant"),
    ],
)
def test_leaves_other_forms(attributes, because):
    text = BEFORE.replace("Resize(", f"Resize<{attributes}>(").replace("Resize<", "Resize<", 1)
    if "not constant" in because:
        text = text.replace("3] x)", "3] x, float[4] s)").replace(" <float[4] s = {1, 1, 2, 1}>", "")
    else:
        text = text.replace("(x, , s)", "(x, r, s)").replace(
            "<float[4] s", "<float[8] r = {0, 0, 0, 0, 1, 1, 1, 1}, float[4] s"
        )
    assert_leaves(LowerResize(), text, because=because)


def test_leaves_long_axes_and_dynamic_shapes():
    assert_leaves(LowerResize(longest=3), BEFORE, because="longer than 3")
    assert_leaves(LowerResize(), BEFORE.replace("[1, 1, ", "[N, 1, "), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 3, 4))
        scales = around.constant(np.array(around.choose([1, 1, 2, 2], [1, 1, 0.5, 1.5]), "f"))
        around.op("Resize", x, "", scales, mode=around.choose("nearest", "linear"))

    check_surroundings(LowerResize(), build, examples=15, tolerance=1e-4)
