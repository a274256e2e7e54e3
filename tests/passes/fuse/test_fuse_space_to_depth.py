import numpy as np
import pytest

from npuopt.passes.fuse.fuse_space_to_depth import FuseSpaceToDepth
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = """(float[N, 2, 6, 10] x) => (float[N, 8, 3, 5] y)
    <int64[6] parts = {0, 2, 3, 2, 5, 2}, int64[4] whole = {0, 8, 3, 5}>"""
BEFORE = f"{SIGNATURE} {{p = Reshape(x, parts) t = Transpose<perm = [0, 3, 5, 1, 2, 4]>(p) y = Reshape(t, whole)}}"


def test_channels_from_pixels():
    assert_rewrites(FuseSpaceToDepth(), BEFORE, f"{SIGNATURE} {{y = SpaceToDepth<blocksize = 2>(x)}}")


def test_channels_ahead_of_the_block_go_into_the_weights_behind():
    before = BEFORE.replace("[0, 3, 5, 1, 2, 4]", "[0, 1, 3, 5, 2, 4]").replace("y = Reshape", "z = Reshape")
    weights = ", ".join(str(number) for number in range(8))
    moved = ", ".join(str(number) for number in (0, 4, 1, 5, 2, 6, 3, 7))
    before = before.replace("8, 3, 5] y", "1, 3, 5] y").replace(
        "<int64[6]", f"<float[1, 8, 1, 1] w = {{{weights}}}, int64[6]"
    )
    after = f"{SIGNATURE.replace('8, 3, 5] y', '1, 3, 5] y')} {{z = SpaceToDepth<blocksize = 2>(x) y = Conv(z, v)}}"
    after = after.replace(
        "<int64[6]", f"<float[1, 8, 1, 1] w = {{{weights}}}, float[1, 8, 1, 1] v = {{{moved}}}, int64[6]"
    )
    assert_rewrites(FuseSpaceToDepth(), before.replace("whole)}", "whole) y = Conv(z, w)}"), after)
    runtime = before.replace(f" = {{{weights}}}", "").replace("<float[1, 8, 1, 1] w, ", "<")
    runtime = runtime.replace("10] x)", "10] x, float[1, 8, 1, 1] w)").replace("whole)}", "whole) y = Conv(z, w)}")
    assert_leaves(FuseSpaceToDepth(), runtime, because="weights of a convolution are not constant")


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("5] y)", "5] y, float[N, 2, 2, 2, 3, 5] t)"), "read elsewhere or is a graph output"),
        (BEFORE.replace("[0, 3, 5, 1, 2, 4]", "[0, 1, 3, 5, 2, 4]"), "others than convolutions see them"),
        (BEFORE.replace("{0, 2, 3, 2, 5, 2}", "{0, 2, 6, 1, 5, 2}").replace("{0, 8, 3, 5}", "{0, 4, 6, 5}")
         .replace("8, 3, 5] y", "4, 6, 5] y"), "not square"),
        (BEFORE.replace("{0, 8, 3, 5}", "{0, 8, 5, 3}").replace("8, 3, 5] y", "8, 5, 3] y"), "joined in another way"),
        (BEFORE.replace("float[", "int64["), "moves INT64"),
        (BEFORE.replace("[0, 3, 5, 1, 2, 4]", "[0, 5, 3, 1, 2, 4]"), None),
    ],
)  # fmt: skip
def test_leaves_other_moves(text, because):
    assert_leaves(FuseSpaceToDepth(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 4, 2))
        perm = around.choose([0, 3, 5, 1, 2, 4], [0, 3, 5, 1, 2, 4], [0, 1, 3, 5, 2, 4])
        parts = around.choose([2, 3, 2, 2, 1, 2], [2, 3, 2, 2, 1, 2], [2, 3, 4, 1, 2, 1], [2, 3, 1, 4, 1, 2])
        parted = around.op("Reshape", x, around.constant(np.array(parts), varies=False), company=False)
        sizes = [parts[axis] for axis in perm]
        turned = around.op("Transpose", parted, perm=perm)
        whole = [2, sizes[1] * sizes[2] * sizes[3], sizes[4], sizes[5]]
        moved = around.op("Reshape", turned, around.constant(np.array(whole), varies=False))
        if around.choose(True, True, False):
            weight = np.random.default_rng(0).normal(size=(2, whole[1], 1, 1)).astype("f")
            around.op("Conv", moved, around.constant(weight, varies=around.choose(True, False)))

    check_surroundings(FuseSpaceToDepth(), build, examples=40, least_hits=0.15)
