"""Graphs that optimizers trip over, through the standard order, through each target and through each pass alone.

The traps lie in traps/*.txt: `== what the trap is`, then a graph in ONNX text. Inputs called `special` are given NaN,
infinities, zeros of both signs and a large number.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import onnx.checker
import pytest
from fuzz.pipelines import Pipeline, names_of_graph_passes

from npuopt.graph import to_proto
from support.numbers import draw_feeds, run
from support.paths import ROOT
from support.rewrites import model_from

if TYPE_CHECKING:
    from support.numbers import Arrays

FOLDER = ROOT / "tests" / "passes" / "traps"
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5, 1e30], np.float32)
ALLOWED = {
    ("power of a half", "lower-power"),
    ("Clip without bounds", "lower-clip"),
    ("Clip without a lower bound", "lower-clip"),
}
"""What a pass says that it does to infinities: a root instead of a power of a half, no bound where none is given."""
SEEDS = (0, 1, 2)
TARGETS = ("qualcomm/sm8750", "qualcomm/qcs6490", "host/x86-64")
PIPELINES = [Pipeline(None, ()), *(Pipeline(name, ()) for name in TARGETS)]


def read_traps() -> dict[str, str]:
    traps: dict[str, str] = {}
    for file in sorted(FOLDER.glob("*.txt")):
        for part in file.read_text(encoding="utf-8").split("\n== ")[1:]:
            title, text = part.split("\n", 1)
            assert title not in traps, title
            traps[title] = text
    return traps


TRAPS = read_traps()


@cache
def reference(title: str) -> tuple[list[Arrays], list[Arrays]]:
    """Return inputs and what ONNX Runtime makes of them."""
    model = model_from(TRAPS[title])
    onnx.checker.check_model(to_proto(model), full_check=True)
    draws = [draw_feeds(model, seed) for seed in SEEDS]
    feeds = [{name: SPECIAL if name == "special" else array for name, array in draw.items()} for draw in draws]
    return feeds, [run(model, feed) for feed in feeds]


def test_there_are_many_traps() -> None:
    assert len(TRAPS) >= 150


@pytest.mark.parametrize("title", TRAPS)
def test_no_pipeline_falls_into(title: str) -> None:
    for pipeline in PIPELINES:
        check(title, pipeline)


@pytest.mark.parametrize("title", TRAPS)
def test_no_pass_falls_into(title: str) -> None:
    for name in names_of_graph_passes():
        if (title, name) not in ALLOWED:
            check(title, Pipeline(None, (name,)))


def check(title: str, pipeline: Pipeline) -> None:
    model = model_from(TRAPS[title])
    if pipeline.run(model):
        feeds, expected = reference(title)
        for feed, outputs in zip(feeds, expected, strict=True):
            assert_same(outputs, run(model, feed), f"{pipeline}")


def assert_same(expected: Arrays, got: Arrays, where: str) -> None:
    assert list(expected) == list(got), where
    for name, left in expected.items():
        right = got[name]
        assert (left.dtype, left.shape) == (right.dtype, right.shape), f"{where}: {name}"
        if left.dtype.kind != "f":
            np.testing.assert_array_equal(right, left, err_msg=f"{where}: {name}")
            continue
        np.testing.assert_allclose(right, left, rtol=1e-5, atol=2e-6, err_msg=f"{where}: {name}")
