import numpy as np
import pytest

from npuopt.passes.fuse.fuse_expanded_heads import FuseExpandedHeads
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SHAPES = """<int64[1] axis = {2}, int64[5] expanded = {1, 2, 3, 5, 4}, int64[4] joined = {1, 6, 5, 4}"""
KEYS = f"(float[1, 6, 7, 4] q, float[1, 2, 5, 4] k) => (float[1, 6, 7, 5] y) {SHAPES}"
REPEAT = "u = Unsqueeze(k, axis) e = Expand(u, expanded) r = Reshape(e, joined)"
BEFORE = f"{KEYS}> {{{REPEAT} t = Transpose<perm = [0, 1, 3, 2]>(r) y = MatMul(q, t)}}"


def test_keys_are_taken_once():
    after = f"""{KEYS}, int64[4] rows = {{1, 2, 21, 4}}, int64[4] single = {{1, 2, 5, 4}},
        int64[4] whole = {{1, 6, 7, 5}}> {{
        g = Reshape(q, rows) u = Unsqueeze(k, axis) s = Reshape(u, single) t = Transpose<perm = [0, 1, 3, 2]>(s)
        p = MatMul(g, t) y = Reshape(p, whole)
    }}"""
    assert_rewrites(FuseExpandedHeads(), BEFORE, after)


def test_values_are_taken_once():
    signature = BEFORE[: BEFORE.index("{u =")].replace("6, 7, 4] q", "6, 7, 5] w").replace("7, 5] y", "7, 4] y")
    report = assert_rewrites(FuseExpandedHeads(), f"{signature} {{{REPEAT} y = MatMul(w, r)}}", None)
    assert report.changed[0].text == "takes each of 2 heads once instead of 3 times"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("7, 5] y", "7, 5] y, float[1, 6, 5, 4] r"), "read elsewhere or are a graph output"),
        (BEFORE.replace("float[1, 6, 7, 4] q", "float[N, 6, 7, 4] q"), "shape of the queries is not static"),
        (BEFORE.replace("5, 4] k", "S, 4] k").replace("{1, 2, 3, 5, 4}", "{1, 2, 3, 1, 1}"), "not static"),
        (
            BEFORE.replace("axis = {2}", "axis = {1}").replace("{1, 2, 3, 5, 4}", "{1, 3, 2, 5, 4}"),
            "does not repeat heads for groups",
        ),
        (
            BEFORE.replace("joined = {1, 6, 5, 4}", "joined = {6, 1, 5, 4}")
            .replace("1, 6, 7, 4] q", "6, 1, 7, 4] q")
            .replace("[1, 6, 7, 5] y", "[6, 1, 7, 5] y"),
            "does not join heads",
        ),
        (
            BEFORE.replace("perm = [0, 1, 3, 2]", "perm = [0, 1, 2, 3]")
            .replace("7, 4] q", "7, 5] q")
            .replace("7, 5] y", "7, 4] y"),
            None,
        ),
        (f"{KEYS}> {{t = Transpose<perm = [0, 1, 3, 2]>(k) y = MatMul(q, t)}}".replace("1, 2, 5", "1, 6, 5"), None),
    ],
)
def test_leaves_other_repetitions(text, because):
    assert_leaves(FuseExpandedHeads(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        batch, heads, groups, length = around.choose(1, 2), around.choose(1, 2), around.choose(2, 3), 5
        sizes = [batch, heads, groups, length, 4]
        key = around.op("Neg", around.input(batch, heads, length, 4))
        value = around.op("Unsqueeze", key, around.constant(np.array([2]), varies=False))
        value = around.op("Expand", value, around.constant(np.array(sizes), varies=False))
        shape = np.array([batch, heads * groups, length, 4])
        value = around.op("Reshape", value, around.constant(shape, varies=False))
        turned = around.choose(True, False)
        if turned:
            value = around.op("Transpose", value, perm=[0, 1, 3, 2])
        query = around.op("Neg", around.input(batch, heads * groups, 3, 4 if turned else length))
        around.op("MatMul", query, value)

    check_surroundings(FuseExpandedHeads(), build, examples=60, least_hits=0.1)
