import pytest

from npuopt.passes.clean.fold_empty_values import FoldEmptyValues
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_concat_no_longer_joins_what_is_empty():
    assert_rewrites(
        FoldEmptyValues(),
        """(float[1, 4, 0] past, float[1, 3, 4] x) => (float[1, 3, 4] y) {
            p = Transpose<perm = [0, 2, 1]>(past) q = Mul(p, p) c = Concat<axis = -2>(q, x) y = Neg(c)
        }""",
        "(float[1, 4, 0] past, float[1, 3, 4] x) => (float[1, 3, 4] y) {c = Concat<axis = 1>(x) y = Neg(c)}",
    )


def test_an_empty_result_is_a_constant_whatever_made_it():
    assert_rewrites(
        FoldEmptyValues(),
        """(float[2, 3] x) => (float[0] y, float z) <int64[1] a = {2}, int64[1] one = {1}> {
            n = Neg(x) s = Slice(n, a, a) y = Reshape(s, minus) z = ReduceSum<keepdims = 0>(s)
        }""".replace("minus", "zero").replace("one = {1}", "zero = {0}"),
        """(float[2, 3] x) => (float[0] y, float z) <float[0] e = {}, float[0, 3] s = {}, int64[1] a = {2},
            int64[1] zero = {0}> {y = Identity(e) z = ReduceSum<keepdims = 0>(s)}""",
    )


@pytest.mark.parametrize(
    "text",
    [
        "(float[0, 3] x) => (float[0, 3] y) <float[0, 3] e = {}> {y = Identity(e)}",
        "(float[0, 3] x) => (seq(float[0, 3]) y) {y = SequenceConstruct(x)}",
        "(float[N, 3] x, float[2, 3] z) => (float[M, 3] y) {y = Concat<axis = 0>(x, z)}",
        """(bool c, float[2] x) => (float[0] y) <float[0] e = {}> {
            y = If(c) <then_branch = t () => (float[0] p) {p = Identity(e)},
                       else_branch = f () => (float[0] q) {q = Identity(e)}>
        }""",
    ],
)
def test_what_is_not_known_to_be_empty_and_what_is_done_stays(text):
    assert_leaves(FoldEmptyValues(), text, because=None)


def test_whatever_surrounds_an_empty_value_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        length = around.choose(0, 0, 1)
        empty = around.op("Relu", around.input(2, length, 3))
        other = around.op("Neg", around.input(2, around.choose(0, 2), 3))
        joined = around.op("Concat", empty, other, axis=around.choose(1, -2))
        around.op("ReduceSum", joined, keepdims=0)

    check_surroundings(FoldEmptyValues(), build, least_hits=0.5, tolerance=0)
