"""The transformers of the benchmarks, of full size and with random weights, from both of torch's exporters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from npuopt.graph import Session, dims, load, nodes
from npuopt.pipeline.runner import Runner
from npuopt.road.preparation import prepare
from support.models import exported_path

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.models

BERT = {"Attention": 12, "LayerNormalization": 25, "Gelu": 12, "Softmax": 0, "Erf": 0}
LLAMA = {"Attention": 12, "RotaryEmbedding": 24, "RMSNormalization": 25, "Swish": 12, "Softmax": 0, "Sigmoid": 0}
RELATIVE = 1e-4
BATCH, SEQUENCE, PAST = 2, 6, 5
PADDINGS = {"all ones": slice(0, 0), "left": slice(0, 3), "right": slice(4, None)}


@pytest.mark.parametrize("name", ["bert12", "bert12_dynamo", "llama12", "llama12_dynamo"])
def test_both_exporters_give_the_ops_of_the_architecture_and_its_numbers(name: str) -> None:
    path = exported_path(name)
    model, wanted = load(path), BERT if name.startswith("bert") else LLAMA
    prepare(model, Runner(None, "off"), {}, say=lambda _: None)
    found = Counter(node.op_type for node in model.graph.all_nodes())
    assert {op_type: found[op_type] for op_type in wanted} == wanted
    for node in nodes(model, "Attention"):
        queries, keys = ((dims(value) or (None, None))[1] for value in node.inputs[:2])
        assert (queries != keys) == (wanted is LLAMA), "heads of keys are repeated"
    sizes = {"batch": BATCH, "seq": SEQUENCE, "past": PAST}
    before = Session(load(path), threads=1)
    feeds = {padding: draw(path, sizes, hidden) for padding, hidden in PADDINGS.items()}
    expected = {padding: before.run(inputs) for padding, inputs in feeds.items()}
    del before
    after = Session(model, threads=1)
    for padding, inputs in feeds.items():
        for output, array in after.run(inputs).items():
            largest = float(np.abs(expected[padding][output]).max())
            assert float(np.abs(array - expected[padding][output]).max()) <= RELATIVE * largest, (output, padding)


def draw(path: Path, sizes: dict[str, int], hidden: slice) -> dict[str, np.ndarray]:
    """Return inputs whose last sequence has no tokens in `hidden`."""
    generator = np.random.default_rng(0)
    feeds: dict[str, np.ndarray] = {}
    for value in load(path).graph.inputs:
        shape = [dim if isinstance(dim, int) else sizes.get(dim or "", PAST + SEQUENCE) for dim in dims(value) or ()]
        if value.name == "attention_mask":
            feeds[value.name] = np.ones(shape, np.int64)
            feeds[value.name][-1, hidden] = 0
        elif value.dtype is not None and value.dtype.is_floating_point():
            feeds[value.name] = generator.normal(size=shape).astype(np.float32)
        else:
            feeds[value.name or ""] = generator.integers(0, 2 if "type" in (value.name or "") else 500, shape)
    return feeds
