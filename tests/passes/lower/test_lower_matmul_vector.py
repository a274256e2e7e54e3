from npuopt.passes.lower.lower_matmul_vector import LowerMatmulVector
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[2, 3] x, float[3] v) => (float[2] y) {y = MatMul(x, v)}"


def test_becomes_a_column():
    after = """(float[2, 3] x, float[3] v) => (float[2] y) <int64[2] c = {3, 1}, int64[1] s = {2}> {
        m = Reshape(v, c) p = MatMul(x, m) y = Reshape(p, s)
    }"""
    assert_rewrites(LowerMatmulVector(), BEFORE, after)


def test_two_vectors_become_a_single_number():
    text = "(float[3] x, float[3] v) => (float y) {y = MatMul(x, v)}"
    assert_rewrites(LowerMatmulVector(), text, None)


def test_leaves_matrices_and_dynamic_shapes():
    matrices = "(float[2, 3] x, float[3, 4] w) => (float[2, 4] y) {y = MatMul(x, w)}"
    assert_leaves(LowerMatmulVector(), matrices, because=None)
    dynamic = BEFORE.replace("[2, 3] x", "[N, 3] x").replace("[2] y", "[N] y")
    assert_leaves(LowerMatmulVector(), dynamic, because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        shapes = around.choose(((3,), (3,)), ((3,), (3, 2)), ((2, 2, 3), (3,)), ((3,), (2, 3, 4)), ((2, 3), (3, 2)))
        left, right = (around.input(*shape) for shape in shapes)
        around.op("MatMul", around.op("Neg", left), right)

    check_surroundings(LowerMatmulVector(), build, examples=15, least_hits=0.4)
