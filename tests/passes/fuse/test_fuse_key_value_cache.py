import numpy as np
import pytest

from npuopt.passes.fuse.fuse_key_value_cache import FuseKeyValueCache
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = """(float[N, 4, 3, 4] q, float[N, 2, 3, 4] k, float[N, 2, 3, 6] v, float[N, 2, P, 4] old,
    float[N, 2, P, 6] gone) => (float[N, 4, 3, 6] y)"""
PRESENT = SIGNATURE.replace("6] y)", "6] y, float[N, 2, T, 4] a, float[N, 2, T, 6] b)")
JOINED = "a = Concat<axis = 2>(old, k) b = Concat<axis = -2>(gone, v)"


def test_the_cache_goes_into_attention():
    assert_rewrites(
        FuseKeyValueCache(),
        f"{PRESENT} {{{JOINED} y = Attention<scale = 0.25>(q, a, b)}}",
        f"{PRESENT} {{y, a, b = Attention<scale = 0.25>(q, k, v, , old, gone)}}",
        tolerance=1e-6,
    )


def test_the_length_of_what_is_joined_is_told_by_its_parts():
    """A mask that is made of it comes ahead of the op, which makes the joined keys itself."""
    signature = PRESENT.replace("] b)", "] b, int64[2] s)")
    parts = "p = Shape(old) n = Shape(k) u = Mul(n, unit) w = Add(p, u) s = Slice(w, first, last)"
    constants = "<int64[4] unit = {0, 0, 1, 0}, int64[1] first = {1}, int64[1] last = {3}>"
    assert_rewrites(
        FuseKeyValueCache(),
        f"{signature} {{{JOINED} s = Shape<start = 1, end = 3>(a) y = Attention(q, a, b)}}",
        f"{signature} {constants} {{{parts} y, a, b = Attention(q, k, v, , old, gone)}}",
        tolerance=1e-6,
    )


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_mask_stays_and_a_cache_may_be_empty(kind):
    signature = SIGNATURE.replace("6] gone)", f"6] gone, {kind}[3, T] mask)")
    for past in (0, 5):
        assert_rewrites(
            FuseKeyValueCache(),
            f"{signature} {{{JOINED} y = Attention(q, a, b, mask)}}",
            f"{signature} {{y, c, d = Attention(q, k, v, mask, old, gone)}}",
            dims={"P": past, "T": past + 3},
            tolerance=1e-6,
        )


STATIC = """(float[1, 4, 2, 4] q, float[1, 2, 2, 4] k, float[1, 2, 2, 6] v, float[1, 2, 3, 4] old,
    float[1, 2, 3, 6] gone) => (float[1, 4, 2, 6] y)"""
OFFSET, SQUARE = "{1, 1, 1, 1, 0, 1, 1, 1, 1, 1}", "{1, 0, 0, 0, 0, 1, 1, 0, 0, 0}"
"""Two queries that see three past keys and the new ones up to their own; and keys from the past's start on."""


@pytest.mark.parametrize(
    "mask", [f"bool[2, 5] m = {OFFSET}", "float[1, 1, 2, 5] m = {0, 0, 0, 0, -30000, 0, 0, 0, 0, 0}"]
)
def test_a_mask_that_counts_from_the_end_of_the_past_becomes_the_attribute(mask):
    assert_rewrites(
        FuseKeyValueCache(),
        f"{STATIC} <{mask}> {{{JOINED} y = Attention(q, a, b, m)}}",
        f"{STATIC} <{mask}> {{y, c, d = Attention<is_causal = 1>(q, k, v, , old, gone)}}",
        tolerance=1e-6,
    )


def test_an_attribute_that_counts_from_its_start_becomes_a_mask():
    mask = f"bool[2, 5] m = {SQUARE}"
    assert_rewrites(
        FuseKeyValueCache(),
        f"{STATIC} {{{JOINED} y = Attention<is_causal = 1, scale = 0.25>(q, a, b)}}",
        f"{STATIC} <{mask}> {{y, c, d = Attention<scale = 0.25>(q, k, v, m, old, gone)}}",
        tolerance=1e-6,
    )


def test_another_constant_mask_stays():
    mask = f"bool[2, 5] m = {SQUARE}"
    assert_rewrites(
        FuseKeyValueCache(),
        f"{STATIC} <{mask}> {{{JOINED} y = Attention(q, a, b, m)}}",
        f"{STATIC} <{mask}> {{y, c, d = Attention(q, k, v, m, old, gone)}}",
        tolerance=1e-6,
    )


@pytest.mark.parametrize(
    ("body", "because"),
    [
        ("y = Attention(q, k, v)", None),
        ("a = Concat<axis = 0>(old, old) b = Concat<axis = 0>(gone, gone) y = Attention(q, a, b)", None),
        ("a = Concat<axis = 2>(old, k) b = Concat<axis = 2>(gone, v) y = Attention<is_causal = 1>(q, a, b)", "causal"),
        ("a = Concat<axis = 2>(old, k) b = Concat<axis = 2>(v, gone) y, c, d = Attention(q, a, b, , old, gone)",
         "has a past"),
        ("a = Concat<axis = 2>(old, k) b = Relu(v) y = Attention(q, a, b)", "are not joined"),
        ("a = Concat<axis = 2>(k, old) b = Concat<axis = 2>(v, gone) y = Attention(q, a, b)", "a new key for each"),
        ("a = Concat<axis = 2>(old, k, k) b = Concat<axis = 2>(gone, v, v) y = Attention(q, a, b)", "other than two"),
        (f"{JOINED} s = ReduceSum<keepdims = 0>(a) u = Mul(q, s) y = Attention(u, a, b)",
         "is read elsewhere"),
    ],
)  # fmt: skip
def test_leaves_what_is_no_cache(body, because):
    assert_leaves(FuseKeyValueCache(), f"{SIGNATURE} {{{body}}}", because=because)


def test_keys_that_are_the_values_stay():
    text = """(float[N, 2, 3, 4] q, float[N, 2, 3, 4] k, float[N, 2, P, 4] old) => (float[N, 2, 3, 4] y)
        {a = Concat<axis = 2>(old, k) y = Attention(q, a, a)}"""
    assert_leaves(FuseKeyValueCache(), text, because="its keys are its values")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        heads, past = around.choose(2, 4), around.choose(0, 1, 5)
        query = around.input(1, heads, 3, 4)
        key, value = (around.op("Neg", around.input(1, 2, 3, size)) for size in (4, 6))
        olds = [
            around.constant(np.random.default_rng(size).normal(size=(1, 2, past, size)).astype("f")) for size in (4, 6)
        ]
        first = around.choose(True, True, True, False)
        joined = [
            around.op("Concat", *((old, new) if first else (new, old)), axis=around.choose(2, -2))
            for old, new in zip(olds, (key, value), strict=True)
        ]
        masks = {
            "none": (),
            "bool": (np.arange(3)[:, None] + past >= np.arange(3 + past),),
            "float": (np.random.default_rng(1).normal(size=(1, 1, 3, past + 3)).astype("f"),),
        }[around.choose("none", "bool", "float")]
        around.op("Attention", query, *joined, *map(around.constant, masks))

    check_surroundings(FuseKeyValueCache(), build, examples=40, least_hits=0.3, tolerance=1e-5)
