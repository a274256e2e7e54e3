"""Cutting a model into stretches at its narrow points."""

from __future__ import annotations

from itertools import chain
from math import prod

import pytest

from npuopt.graph import static_shape
from npuopt.quantization.calibration.segments import cut_segments
from support.rewrites import model_from

HOURGLASS = """(float[8] x) => (float[8] y)
<int64[1] start = {0}, int64[1] end = {1}, int64[1] eight = {8}>
{
    a = Neg(x)
    b = Abs(a)
    narrow = Slice(b, start, end)
    wide = Expand(narrow, eight)
    c = Neg(wide)
    y = Add(c, wide)
}"""


def size(node):
    return sum(4 * prod(static_shape(value) or (1,)) for value in node.outputs)


def names(segments):
    return [[node.outputs[0].name for node in segment.nodes] for segment in segments]


def test_what_fits_stays_whole():
    model = model_from(HOURGLASS)
    (segment,) = cut_segments(model, size, 1000)
    assert names([segment]) == [["a", "b", "narrow", "wide", "c", "y"]]
    assert [value.name for value in segment.inputs] == ["x"]
    assert segment.outputs == (), "nobody reads the rest"


def test_cuts_are_narrow():
    first, second = cut_segments(model_from(HOURGLASS), size, 110)
    assert [value.name for value in first.outputs] == ["narrow"]
    assert [value.name for value in second.inputs] == ["narrow"]


@pytest.mark.parametrize("limit", [1, 32, 40, 64, 70, 96, 100, 128])
def test_every_node_is_in_one_segment_and_each_has_what_it_reads(limit):
    model = model_from(HOURGLASS)
    segments = cut_segments(model, size, limit)
    assert list(chain.from_iterable(names(segments))) == ["a", "b", "narrow", "wide", "c", "y"]
    known = {"x"}
    for segment in segments:
        assert sum(size(node) for node in segment.nodes) <= limit or len(segment.nodes) == 1
        assert {value.name for value in segment.inputs} <= known
        known |= {value.name for value in segment.outputs}


def test_what_a_branch_reads_crosses_the_cut():
    model = model_from("""(float[4] x, bool c) => (float[4] y) {
        a = Neg(x)
        b = Abs(a)
        y = If (c) <then_branch = t () => (float[4] p) { p = Neg(a) },
                    else_branch = e () => (float[4] q) { q = Abs(b) }>
    }""")
    segments = cut_segments(model, size, 16)
    assert [value.name for value in segments[-1].inputs] == ["c", "a", "b"]
