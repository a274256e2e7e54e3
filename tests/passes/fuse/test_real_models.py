"""The fusions fire on real models as often as their architecture says, and keep the numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from npuopt.graph import Model, Session, load
from npuopt.pipeline.catalogue import catalogue, with_options
from npuopt.pipeline.recipes import CLEAN, FREEZE, FUSE
from npuopt.pipeline.runner import Runner
from support.models import model_path
from support.numbers import draw_feeds
from support.paths import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

RELATIVE = 1e-4


def passes(names, **options):
    found = catalogue()
    return [with_options(found[name], options if name == "freeze-dims" else {}) for name in names]


def fuse(path: Path, sizes: dict[str, int], ranges: dict[str, tuple[float, float]] | None = None) -> Counter[str]:
    """Clean, freeze and fuse a model, compare its numbers before and after the fusions, and count what is left."""
    model, runner = load(path), Runner()
    runner.run_until_stable(model, passes(CLEAN))
    runner.run(model, passes(FREEZE, dims=tuple(sizes.items())))
    runner.run_until_stable(model, passes(CLEAN))
    feeds = draw_feeds(model, 0, ranges=ranges)
    expected = Session(model).run(feeds)
    runner.run_until_stable(model, [*passes(FUSE), *passes(CLEAN)])
    assert_close(expected, Session(model).run(feeds))
    return counts(model)


def counts(model: Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def assert_close(expected: dict[str, np.ndarray], got: dict[str, np.ndarray]) -> None:
    for name, array in expected.items():
        largest = float(np.abs(array).max())
        assert float(np.abs(array - got[name]).max()) <= RELATIVE * largest, name


@pytest.mark.parametrize("sizes", [{"batch": 1, "seq": 1, "past": 127}, {"batch": 1, "seq": 16, "past": 0}], ids=str)
def test_tiny_llama(sizes):
    left = fuse(EXAMPLES / "tiny_llama" / "model.onnx", sizes, {"input_ids": (0, 2048)})
    assert (left["RMSNormalization"], left["Swish"]) == (13, 6)
    assert not left & Counter(Pow=1, Sqrt=1, Sigmoid=1, Div=1, Expand=1)


def test_fashion_mnist():
    left = fuse(EXAMPLES / "fashion_mnist" / "model.onnx", {"batch": 1})
    assert (left["Conv"], left["BatchNormalization"], left["Gemm"]) == (17, 0, 1)


@pytest.mark.models
def test_minilm():
    ranges = {"input_ids": (0, 30522), "attention_mask": (0, 2), "token_type_ids": (0, 2)}
    left = fuse(model_path("minilm"), {"batch": 1, "seq": 128}, ranges)
    assert (left["LayerNormalization"], left["Gelu"], left["Div"], left["Erf"]) == (13, 6, 0, 0)


@pytest.mark.models
def test_efficientnet_lite0():
    left = fuse(model_path("efficientnet_lite0"), {"batch": 1})
    assert (left["Conv"], left["Pad"]) == (49, 0)


@pytest.mark.models
def test_ppocr_recognizer():
    left = fuse(model_path("ppocr_rec"), {"x:0": 1, "x:2": 48, "x:3": 320})
    assert (left["HardSwish"], left["LayerNormalization"], left["Swish"]) == (28, 5, 7)
    assert (left["BatchNormalization"], left["Clip"], left["Div"]) == (0, 0, 0)
