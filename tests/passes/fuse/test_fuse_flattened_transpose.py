import numpy as np
import pytest

from npuopt.passes.fuse.fuse_flattened_transpose import FuseFlattenedTranspose
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = """(float[N, 2, T, 3] x) => (float[N, 2, 3, T] y)
    <int64[1] flat = {-1}, int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3}, int64[1] four = {4},
     int64[1] zero = {0}, int64[1] heads = {2}>"""
BEFORE = f"""{SIGNATURE} {{
    s = Shape(x) t = Slice(s, two, three) n = Slice(s, zero, one)
    j = Concat<axis = 0>(flat, t, three) a = Reshape(x, j)
    b = Transpose<perm = [0, 2, 1]>(a)
    p = Concat<axis = 0>(n, heads, three, t) y = Reshape(b, p)
}}"""
STATIC = """(float[2, 2, 4, 3] x) => (float[2, 2, 3, 4] y) <int64[3] j = {-1, 4, 3}, int64[4] p = {2, 2, 3, 4}>
    {a = Reshape(x, j) b = Transpose<perm = [0, 2, 1]>(a) y = Reshape(b, p)}"""


def test_as_torch_writes_keys():
    after = f"{SIGNATURE} {{y = Transpose<perm = [0, 1, 3, 2]>(x)}}"
    assert_rewrites(FuseFlattenedTranspose(), BEFORE, after)


def test_static_shapes():
    after = f"{STATIC[: STATIC.index('{a =')]}{{y = Transpose<perm = [0, 1, 3, 2]>(x)}}"
    assert_rewrites(FuseFlattenedTranspose(), STATIC, after)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (STATIC.replace("[0, 2, 1]", "[1, 2, 0]"), None),
        (STATIC.replace("j = {-1, 4, 3}", "j = {-1, 3, 4}").replace("3, 4] y", "4, 3] y").replace("3, 4}>", "4, 3}>"),
         "may change the matrices"),
        (STATIC.replace("[2, 2, 3, 4] y", "[1, 4, 3, 4] y").replace("{2, 2, 3, 4}", "{1, 4, 3, 4}"), "may differ"),
        (STATIC.replace("[2, 2, 3, 4] y", "[4, 12] y").replace("int64[4] p = {2, 2, 3, 4}", "int64[2] p = {4, 12}"),
         None),
    ],
)  # fmt: skip
def test_leaves_other_reshapes(text, because):
    assert_leaves(FuseFlattenedTranspose(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        shape = around.choose((2, 2, 4, 3), (1, 2, 3, 3), (2, 1, 2, 2))
        x = around.op("Neg", around.input(*shape))
        rows, columns = around.choose(shape[2:], shape[:1:-1])
        flat = around.op("Reshape", x, around.constant(np.array([-1, rows, columns]), varies=False))
        turned = around.op("Transpose", flat, perm=around.choose([0, 2, 1], [0, 2, 1], [0, 1, 2]))
        leading = around.choose(shape[:2], shape[:2], shape[1::-1])
        back = around.constant(np.array([*leading, *around.choose((columns, rows), (rows, columns))]), varies=False)
        around.op("Reshape", turned, back)

    check_surroundings(FuseFlattenedTranspose(), build, examples=40, least_hits=0.15)
