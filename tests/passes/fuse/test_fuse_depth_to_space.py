import numpy as np
import pytest

from npuopt.passes.fuse.fuse_depth_to_space import FuseDepthToSpace
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CRD, DCR = [0, 1, 4, 2, 5, 3], [0, 3, 4, 1, 5, 2]
SIGNATURE = """(float[N, 8, 3, 5] x) => (float[N, 2, 6, 10] y)
    <int64[6] parts = {0, 2, 2, 2, 3, 5}, int64[4] whole = {0, 2, 6, 10}>"""


def written(perm):
    return f"{SIGNATURE} {{p = Reshape(x, parts) t = Transpose<perm = {perm}>(p) y = Reshape(t, whole)}}"


@pytest.mark.parametrize(("perm", "mode"), [(CRD, "CRD"), (DCR, "DCR")])
def test_pixels_from_channels(perm, mode):
    after = f'{SIGNATURE} {{y = DepthToSpace<blocksize = 2, mode = "{mode}">(x)}}'
    assert_rewrites(FuseDepthToSpace(), written(perm), after)


BEFORE = written(CRD)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("10] y)", "10] y, float[N, 2, 2, 2, 3, 5] p)"), "read elsewhere or is a graph output"),
        (BEFORE.replace("{0, 2, 2, 2, 3, 5}", "{0, 2, 4, 1, 3, 5}").replace("{0, 2, 6, 10}", "{0, 2, 12, 5}")
         .replace("2, 6, 10] y", "2, 12, 5] y"), "not square"),
        (BEFORE.replace("{0, 2, 2, 2, 3, 5}", "{0, 2, 2, 2, 5, 3}").replace("{0, 2, 6, 10}", "{0, 2, 10, 6}")
         .replace("2, 6, 10] y", "2, 10, 6] y"), "does not part channels alone"),
        (BEFORE.replace("{0, 2, 6, 10}", "{0, 6, 2, 10}").replace("2, 6, 10] y", "6, 2, 10] y"), "in another way"),
        (BEFORE.replace("float[", "int32["), "moves INT32"),
        (BEFORE.replace("8, 3, 5] x", "8, H, 5] x"), "not known"),
        (BEFORE.replace(str(CRD), "[0, 1, 4, 3, 5, 2]"), None),
    ],
)  # fmt: skip
def test_leaves_other_moves(text, because):
    assert_leaves(FuseDepthToSpace(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 8, 2, 3))
        perm = around.choose(CRD, DCR, [0, 3, 4, 2, 5, 1])
        parts = around.choose([2, 2, 2, 2, 2, 3], [2, 2, 2, 2, 3, 2], [1, 4, 2, 2, 2, 3])
        parted = around.op("Reshape", x, around.constant(np.array(parts), varies=False), company=False)
        sizes = [parts[axis] for axis in perm]
        whole = [sizes[0], sizes[1], sizes[2] * sizes[3], sizes[4] * sizes[5]]
        turned = around.op("Transpose", parted, perm=perm)
        around.op("Reshape", turned, around.constant(np.array(whole), varies=False))

    check_surroundings(FuseDepthToSpace(), build, examples=40, least_hits=0.15)
