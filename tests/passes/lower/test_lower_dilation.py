import numpy as np

from npuopt.passes.lower.lower_dilation import LowerDilation
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[1, 1, 6] x) => (float[1, 1, 4] y) <float[1, 1, 2] w = {2, 3}"


def test_zeros_stand_between_the_weights():
    assert_rewrites(
        LowerDilation(),
        f"{SIGNATURE}> {{y = Conv<dilations = [2]>(x, w)}}",
        f"{SIGNATURE}, float[1, 1, 3] v = {{2, 0, 3}}> {{y = Conv<kernel_shape = [3]>(x, v)}}",
    )


def test_leaves_neighbouring_taps_and_weights_of_run_time():
    text = f"{SIGNATURE}> {{y = Conv<dilations = [2]>(x, w)}}"
    assert_leaves(LowerDilation(), text.replace("[2]>", "[1]>").replace("1, 1, 4", "1, 1, 5"), because=None)
    runtime = text.replace("6] x", "6] x, float[1, 1, 2] w").replace(" <float[1, 1, 2] w = {2, 3}>", "")
    assert_leaves(LowerDilation(), runtime, because="its weights are not constant")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 7, 8))
        op, pads = around.choose("Conv", "ConvTranspose"), around.choose([0, 0, 0, 0], [1, 2, 0, 1])
        weight = around.constant(np.random.default_rng(0).normal(size=(2, 2, 2, 3)).astype("f"))
        around.op(
            op, x, weight, pads=pads, dilations=around.choose([2, 1], [3, 2]), strides=around.choose([1, 1], [2, 2])
        )

    check_surroundings(LowerDilation(), build, least_hits=0.25)
