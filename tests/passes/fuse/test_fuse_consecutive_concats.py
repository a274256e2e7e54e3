import pytest

from npuopt.passes.fuse.fuse_consecutive_concats import FuseConsecutiveConcats
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[N, 2] a, float[N, 3] b, float[N, K] c, float[N, 1] d) => (float[N, M] y)"
BEFORE = f"{SIGNATURE} {{i = Concat<axis = 1>(b, c) y = Concat<axis = -1>(a, i, d)}}"


def test_the_inner_one_disappears():
    assert_rewrites(FuseConsecutiveConcats(), BEFORE, f"{SIGNATURE} {{y = Concat<axis = 1>(a, b, c, d)}}")


def test_a_chain_and_two_inner_ones():
    before = f"""{SIGNATURE} {{i = Concat<axis = 1>(a, b) j = Concat<axis = 1>(i, c) k = Concat<axis = 1>(d, a)
        y = Concat<axis = 1>(j, k)}}"""
    assert_rewrites(FuseConsecutiveConcats(), before, f"{SIGNATURE} {{y = Concat<axis = 1>(a, b, c, d, a)}}")


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("M] y)", "M] y, float[N, L] i)"), "'i' is read elsewhere or is a graph output"),
        (BEFORE.replace("(a, i, d)", "(a, i, i)"), "'i' is read elsewhere"),
        ("(float[1, 2] a) => (float[2, 4] y) {i = Concat<axis = 1>(a, a) y = Concat<axis = 0>(i, i)}", None),
    ],
)
def test_leaves_what_is_needed_elsewhere(text, because):
    assert_leaves(FuseConsecutiveConcats(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        a, b, c = (around.op("Neg", around.input(2, around.choose(0, 1, 2), 2)) for _ in range(3))
        axis = around.choose(1, -2)
        inner = around.op("Concat", a, b, axis=axis)
        around.op("Concat", *around.choose((inner, c), (c, inner), (inner, inner)), axis=around.choose(1, axis))

    check_surroundings(FuseConsecutiveConcats(), build, examples=40, least_hits=0.15)
