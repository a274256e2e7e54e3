import numpy as np
import pytest

from npuopt.passes.layout.fuse_reshaped_transpose import FuseReshapedTranspose
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SHUFFLE = """(float[1, 6, 2, 4] x) => (float[1, 6, 2, 4] y)
    <int64[5] parts = {1, 2, 3, 2, 4}, int64[4] whole = {1, 6, 2, 4}>
    {a = Reshape(x, parts) b = Transpose<perm = [0, 2, 1, 3, 4]>(a) y = Reshape(b, whole)}"""
EMPTY = SHUFFLE.replace("2, 4] ", "0, 4] ").replace("2, 4}", "0, 4}").replace("Reshape", "Reshape <allowzero = 1> ")
SHUFFLED = """(float[1, 6, 2, 4] x) => (float[1, 6, 2, 4] y)
    <int64[5] parts = {1, 2, 3, 2, 4}, int64[4] whole = {1, 6, 2, 4}, int64[3] blocks = {2, 3, 8}>
    {a = Reshape(x, blocks) b = Transpose<perm = [1, 0, 2]>(a) y = Reshape(b, whole)}"""


def test_a_shuffle_of_channels_moves_three_blocks():
    assert_rewrites(FuseReshapedTranspose(), SHUFFLE, SHUFFLED)


def test_every_reshape_behind_it_reads_the_blocks():
    before = """(float[1, 6, 2, 4] x) => (float[48] y, float[6, 8] z)
        <int64[5] parts = {1, 2, 3, 2, 4}, int64[1] flat = {-1}, int64[2] rows = {6, 8}>
        {a = Reshape(x, parts) b = Transpose<perm = [0, 2, 1, 3, 4]>(a) y = Reshape(b, flat) z = Reshape(b, rows)}"""
    report = assert_rewrites(FuseReshapedTranspose(), before, None)
    assert report.changed[0].text == "moves 3 blocks instead of 5 axes"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (SHUFFLE.replace("y)\n", "y, float[1, 3, 2, 2, 4] b)\n"), "others than Reshapes read it"),
        (SHUFFLE.replace("y = Reshape(b, whole)", "c = Neg(b) y = Reshape(c, whole)"), "others than Reshapes read it"),
        (SHUFFLE.replace("1, 6, 2, 4] ", "N, 6, 2, 4] ").replace("{1, ", "{-1, "), "not static"),
        (EMPTY, "has no elements"),
        (SHUFFLE.replace("whole = {1, ", "whole = {0, "), "copies a dim"),
        (
            """(float[2, 2, 2, 2, 2] x) => (float[32] y) <int64[5] parts = {2, 2, 2, 2, 2}, int64[1] flat = {-1}>
            {a = Reshape(x, parts) b = Transpose<perm = [4, 3, 2, 1, 0]>(a) y = Reshape(b, flat)}""",
            "moves 5 blocks of axes",
        ),
        (
            """(float[6, 8] x) => (float[48] y) <int64[3] parts = {2, 3, 8}, int64[1] flat = {-1}>
            {a = Reshape(x, parts) b = Transpose<perm = [1, 0, 2]>(a) y = Reshape(b, flat)}""",
            None,
        ),
    ],
)  # fmt: skip
def test_leaves_what_gains_nothing(text, because):
    assert_leaves(FuseReshapedTranspose(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        shape = around.choose((1, 2, 3, 2, 4), (2, 2, 1, 3, 2), (1, 1, 6, 2, 2), (2, 1, 2, 1, 2, 3))
        x = around.op("Neg", around.input(int(np.prod(shape[:2])), *shape[2:]))
        spread = around.op("Reshape", x, around.constant(np.array(shape), varies=False))
        order = around.choose(*[list(np.random.default_rng(seed).permutation(len(shape))) for seed in range(6)])
        turned = around.op("Transpose", spread, perm=[int(axis) for axis in order])
        around.op("Reshape", turned, around.constant(np.array(around.choose([-1], [2, -1], [-1, 2])), varies=False))

    check_surroundings(FuseReshapedTranspose(), build, examples=40, least_hits=0.15)
