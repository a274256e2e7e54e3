"""The bundled models fold to static graphs without shape arithmetic, and compute the same."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from npuopt.graph import Session, load, nodes, static_shape
from npuopt.passes.freeze.freeze_dims import FreezeDims
from npuopt.pipeline.catalogue import catalogue
from npuopt.pipeline.recipes import CLEAN, FREEZE
from npuopt.pipeline.runner import Runner
from support.model_text import save_text

EXAMPLES = Path(__file__).parents[2] / "examples"
LLAMA, FASHION = EXAMPLES / "tiny_llama" / "model.onnx", EXAMPLES / "fashion_mnist" / "model.onnx"
SHAPE_ARITHMETIC = {"Shape", "Size", "Range", "ConstantOfShape", "NonZero", "Equal", "Where", "Identity", "If"}


DECODE = (("batch", 1), ("seq", 1), ("past", 127))
PREFILL = (("batch", 1), ("seq", 128), ("past", 0))


@cache  # the tests below only look
def prepared(path: Path, dims: tuple[tuple[str, int], ...]):
    model, runner = load(path), Runner(verify="each")
    clean = [catalogue()[name]() for name in CLEAN]
    runner.run_until_stable(model, clean)
    runner.run(model, [FreezeDims(dims), *(catalogue()[name]() for name in FREEZE[1:])])
    runner.run_until_stable(model, clean)
    return model, runner


@pytest.mark.parametrize(
    ("path", "dims", "most_nodes"),
    [
        (LLAMA, DECODE, 375),
        (LLAMA, PREFILL, 369),
        (FASHION, (("batch", 1),), 52),
    ],
    ids=["llama decode", "llama prefill", "fashion"],
)
def test_a_bundled_model_becomes_static_and_small(path, dims, most_nodes):
    model, _ = prepared(path, dims)
    assert len(nodes(model)) <= most_nodes
    assert not SHAPE_ARITHMETIC & {node.op_type for node in nodes(model)}
    assert all(static_shape(output) is not None for node in nodes(model) for output in node.outputs)
    original, cleaned = Session(path, threads=1), Session(model, threads=1)
    generator = np.random.default_rng(0)
    feeds = {}
    for value in load(path).graph.inputs:
        shape = [dict(dims).get(dim.value, 0) if not isinstance(dim, int) else dim for dim in value.shape]
        is_float = value.dtype.numpy().kind == "f"
        feeds[value.name] = generator.normal(size=shape).astype("f") if is_float else generator.integers(0, 2048, shape)
    expected, got = original.run(feeds), cleaned.run(feeds)
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-5)


def test_the_report_lists_the_inputs_that_became_empty():
    model, runner = prepared(LLAMA, PREFILL)
    assert [value.name for value in model.graph.inputs] == ["input_ids"]
    dropped = next(report for report in runner.reports if report.name == "drop-empty-inputs")
    assert len(dropped.notes) == 12
    assert "past_k_0 [1, 2, 0, 32]" in dropped.notes[0]


def test_cleaning_twice_finds_nothing():
    model, _ = prepared(LLAMA, DECODE)
    reports = Runner(verify="off").run(model, [catalogue()[name]() for name in CLEAN])
    assert [report.name for report in reports if report.changed] == []


def test_a_slice_up_to_a_named_dim_goes_even_as_the_graph_output(tmp_path):
    """Its name is known of the output only once the shape arithmetic is followed."""
    text = """<ir_version: 10, opset_import: ["" : 24]> g (float[N, 4] x) => (float[?, 4] y) <int64[1] zero = {0}> {
        n = Shape<start = 0, end = 1>(x) r = Relu(x) y = Slice(r, zero, n, zero)
    }"""
    model = load(save_text(tmp_path / "m.onnx", text))
    Runner().run_until_stable(model, [catalogue()[name]() for name in CLEAN])
    assert [node.op_type for node in nodes(model)] == ["Relu"]
