import pytest

from npuopt.graph import nodes, rank
from npuopt.passes.lower.lower_space_to_depth import LowerSpaceToDepth
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[2, 3, 4, 6] x) => (float[2, 12, 2, 3] y) {y = SpaceToDepth<blocksize = 2>(x)}"


def test_becomes_a_transpose_between_reshapes():
    after = """(float[2, 3, 4, 6] x) => (float[2, 12, 2, 3] y) <int64[6] s = {2, 3, 2, 2, 3, 2},
        int64[4] t = {2, 12, 2, 3}> {
        a = Reshape(x, s) b = Transpose<perm = [0, 3, 5, 1, 2, 4]>(a) y = Reshape(b, t)
    }"""
    assert_rewrites(LowerSpaceToDepth(), BEFORE, after)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_the_other_way_in_both_orders(mode):
    text = (
        f"""(float[2, 18, 2, 3] x) => (float[2, 2, 6, 9] y) {{y = DepthToSpace<blocksize = 3, mode = "{mode}">(x)}}"""
    )
    assert_rewrites(LowerSpaceToDepth(), text, None, tolerance=0)
    model = model_from(text)
    assert_rewrites(LowerSpaceToDepth(in_steps=True), model, None, tolerance=0)
    assert max(rank(node.outputs[0]) for node in nodes(model)) == 4


def test_leaves_dynamic_shapes():
    assert_leaves(LowerSpaceToDepth(), BEFORE.replace("[2, 3, 4", "[N, 3, 4"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 8, 4, 2))
        if around.choose(True, False):
            around.op("SpaceToDepth", x, blocksize=2)
        else:
            around.op("DepthToSpace", x, blocksize=2, mode=around.choose("DCR", "CRD"))

    check_surroundings(LowerSpaceToDepth(in_steps=True), build, least_hits=0.9, tolerance=0)
