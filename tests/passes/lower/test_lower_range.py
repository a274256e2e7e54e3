import numpy as np
import pytest

from npuopt.passes.lower.lower_range import LowerRange
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_a_constant():
    head = "(int64[N] x) => (int64[N] y) <int64 a = {7}, int64 b = {-2}, int64 c = {-4}"
    assert_rewrites(
        LowerRange(),
        f"{head}, int64[1] f = {{0}}> {{r = Range(a, b, c) s = ReduceSum(r, f) y = Add(x, s)}}",
        f"{head}, int64[1] f = {{0}}, int64[3] k = {{7, 3, -1}}> {{r = Identity(k) s = ReduceSum(r, f) y = Add(x, s)}}",
    )


def test_a_start_that_is_given_at_run_time():
    head = "(int64 a, int64 b, int64[3] x) => (int64[3] y) <int64 c = {2}"
    text = f"{head}> {{r = Range(a, b, c) y = Add(r, x)}}".replace("<int64", "<int64[3] r, int64")
    after = f"{head}, int64[3] k = {{0, 2, 4}}> {{r = Add(a, k) y = Add(r, x)}}"
    feeds = {"a": np.array(5), "b": np.array(10)}
    assert_rewrites(LowerRange(), text, after, feeds=feeds)


@pytest.mark.parametrize("kind", ["float", "double", "int32", "int16"])
@pytest.mark.parametrize("numbers", ["0 5 1", "5 0 -2", "3 3 1", "-4 9 3"])
def test_numbers_of_every_type(kind, numbers):
    start, limit, delta = numbers.split()
    length = len(np.arange(int(start), int(limit), int(delta)))
    text = f"""() => ({kind}[{length}] y) <{kind} a = {{{start}}}, {kind} b = {{{limit}}}, {kind} c = {{{delta}}}>
        {{y = Range(a, b, c)}}"""
    if kind == "int16":
        text = text.replace("{-", "{-")
    assert_rewrites(LowerRange(), text, None)


def test_a_step_that_is_given_at_run_time():
    text = "(float a, float b, float c) => (float[3] y) {y = Range(a, b, c)}"
    feeds = {"a": np.float32(0.5), "b": np.float32(1.25), "c": np.float32(0.25)}
    assert_rewrites(LowerRange(), text, None, feeds={name: np.array(item) for name, item in feeds.items()})


def test_leaves_what_has_no_known_length():
    text = "(int64 a, int64 b, int64 c) => (int64[N] y) {y = Range(a, b, c)}"
    assert_leaves(LowerRange(), text, because="number of steps is not known")
    assert_leaves(LowerRange(longest=2), text.replace("N", "3"), because="beyond 2")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        start, limit, delta = around.choose((0, 5, 2), (9, 2, -3), (2, 2, 1))
        kind = around.choose(np.int64, np.float32)
        names = [around.constant(np.array(number, kind)) for number in (start, limit, delta)]
        around.op("Neg", around.op("Range", *names))

    check_surroundings(LowerRange(), build, least_hits=0.2)
