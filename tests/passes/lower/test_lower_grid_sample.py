import numpy as np
import pytest

from npuopt.passes.lower.lower_grid_sample import LowerGridSample
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

PLACES = ", ".join(f"{(number * 37 % 29 - 14) / 10:.3f}" for number in range(24))
SIGNATURE = f"(float[1, 2, 4, 5] x) => (float[1, 2, 3, 4] y) <float[1, 3, 4, 2] g = {{{PLACES}}}>"


def test_nearest_pixels_are_gathered():
    signature = "(float[2, 3, 2, 2] x) => (float[2, 3, 1, 2] y) <float[2, 1, 2, 2] g = {-1, -1, 1, 1, -1, -1, 1, 1}"
    assert_rewrites(
        LowerGridSample(),
        f'{signature}> {{y = GridSample<mode = "nearest", align_corners = 1>(x, g)}}',
        f"""{signature}, int64[3] flat = {{2, 3, 4}}, int64[2] i = {{0, 3}}, int64[4] whole = {{2, 3, 1, 2}}> {{
            p = Reshape(x, flat) t = Gather<axis = 2>(p, i) y = Reshape(t, whole)
        }}""",
    )


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("aligned", [0, 1])
def test_every_mode_and_padding(mode, padding, aligned):
    node = f'GridSample<mode = "{mode}", padding_mode = "{padding}", align_corners = {aligned}>(x, g)'
    assert_rewrites(LowerGridSample(), f"{SIGNATURE} {{y = {node}}}", None, tolerance=1e-4)


def test_a_pixel_outside_is_zero_beside_an_infinity():
    feeds = {"x": np.full((1, 2, 4, 5), np.inf, np.float32)}
    text = f'{SIGNATURE} {{y = GridSample<mode = "nearest">(x, g)}}'
    assert_rewrites(LowerGridSample(), text, None, feeds=feeds, seeds=[0])


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (f'{SIGNATURE} {{y = GridSample<mode = "cubic">(x, g)}}', "mode cubic"),
        (f"{SIGNATURE} {{y = GridSample(x, g)}}".replace("float[1, 2, 4, 5]", "float[N, 2, 4, 5]"), "not static"),
        ("(float[1, 2, 4, 5] x, float[1, 3, 4, 2] g) => (float[1, 2, 3, 4] y) {y = GridSample(x, g)}", "not constant"),
        ("""(float[2, 1, 4, 5] x) => (float[2, 1, 1, 1] y) <float[2, 1, 1, 2] g = {0, 0, 1, 1}>
            {y = GridSample(x, g)}""", "differs between images"),
    ],
)  # fmt: skip
def test_leaves_other_forms(text, because):
    assert_leaves(LowerGridSample(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 3, around.choose(1, 4)))
        grid = around.constant(np.random.default_rng(0).normal(0, 0.8, (1, 2, 3, 2)).astype("f"))
        modes = {
            "mode": around.choose("linear", "nearest"),
            "padding_mode": around.choose("zeros", "border", "reflection"),
        }
        around.op("GridSample", x, grid, align_corners=around.choose(0, 1), **modes)

    check_surroundings(LowerGridSample(), build, tolerance=1e-4)
