from npuopt.passes.lower.lower_transpose_to_rank_4 import LowerTransposeToRank4
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_axes_of_length_one_come_in_front():
    signature = "(float[2, 3, 4] x) => (float[4, 2, 3] y)"
    assert_rewrites(
        LowerTransposeToRank4(),
        f"{signature} {{y = Transpose<perm = [2, 0, 1]>(x)}}",
        f"""{signature} <int64[4] s = {{1, 2, 3, 4}}, int64[3] t = {{4, 2, 3}}> {{
            a = Reshape(x, s) b = Transpose<perm = [0, 3, 1, 2]>(a) y = Reshape(b, t)
        }}""",
        tolerance=0,
    )


def test_leaves_rank_4_and_dynamic_shapes():
    text = "(float[2, 3, 4, 5] x) => (float[5, 4, 3, 2] y) {y = Transpose(x)}"
    assert_leaves(LowerTransposeToRank4(), text, because=None)
    dynamic = "(float[N, 3, 4] x) => (float[4, 3, N] y) {y = Transpose(x)}"
    assert_leaves(LowerTransposeToRank4(), dynamic, because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        shape, order = around.choose(((4, 3), [1, 0]), ((2, 3, 4), [1, 2, 0]), ((1, 3, 2), [2, 1, 0]), ((5,), [0]))
        around.op("Transpose", around.op("Neg", around.input(*shape)), perm=order)

    check_surroundings(LowerTransposeToRank4(), build, least_hits=0.9, tolerance=0)
