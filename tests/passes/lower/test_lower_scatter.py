import numpy as np
import pytest

from npuopt.passes.lower.lower_scatter import LowerScatter
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[3, 2] x, float[1, 2] u) => (float[3, 2] y) <int64[1, 1] i = {-2}> {y = ScatterND(x, i, u)}"


def test_becomes_a_gather_from_old_and_new():
    after = """(float[3, 2] x, float[1, 2] u) => (float[3, 2] y)
        <int64[1, 1] i = {-2}, int64[2] s = {3, 2}, int64[2] t = {1, 2}, int64[3] p = {0, 3, 2}, int64[2] r = {3, 2}> {
        a = Reshape(x, s) b = Reshape(u, t) c = Concat<axis = 0>(a, b) g = Gather<axis = 0>(c, p) y = Reshape(g, r)
    }"""
    assert_rewrites(LowerScatter(), BEFORE, after)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_elements_and_points_with_every_reduction(reduction):
    text = f"""(float[2, 3] x, float[2, 2] u, float[3] v) => (float[2, 3] y, float[2, 3] z)
        <int64[2, 2] i = {{0, 2, -1, 1}}, int64[3, 2] p = {{0, 0, 1, 2, -1, -2}}> {{
        y = ScatterElements<axis = 1, reduction = "{reduction}">(x, i, u)
        z = ScatterND<reduction = "{reduction}">(x, p, v)
    }}"""
    assert_rewrites(LowerScatter(), text, None)


def test_leaves_places_that_are_not_known_or_updated_twice():
    runtime = BEFORE.replace("x, float", "x, int64[1, 1] i, float").replace(" <int64[1, 1] i = {-2}>", "")
    assert_leaves(LowerScatter(), runtime, because="not constant")
    twice = BEFORE.replace("[1, 2] u", "[2, 2] u").replace("[1, 1] i = {-2}", "[2, 1] i = {1, -2}")
    added = twice.replace("ScatterND", 'ScatterND<reduction = "add">')
    assert_leaves(LowerScatter(), added, because="updates a place twice")
    assert_rewrites(LowerScatter(), twice, None, feeds={"u": np.array([[1, 2], [3, 4]], "f")})
    assert_leaves(LowerScatter(), BEFORE.replace("[3, 2] x", "[N, 2] x"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(3, 4))
        reduction = around.choose("none", "add", "mul", "max", "min")
        if around.choose(True, False):
            updates = around.input(2, 4)
            around.op("ScatterND", x, around.constant(np.array([[2], [0]])), updates, reduction=reduction)
        else:
            places = around.constant(np.array([[0, 1], [-1, 0]]))
            around.op("ScatterElements", x, places, around.input(2, 2), axis=around.choose(0, 1), reduction=reduction)

    check_surroundings(LowerScatter(), build, least_hits=0.5)
