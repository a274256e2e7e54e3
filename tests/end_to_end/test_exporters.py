"""The same network gives the same ops, whichever of torch's exporters and spellings of attention wrote it down."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from npuopt.graph import Session, dims, load, nodes
from npuopt.pipeline.runner import Runner
from npuopt.road.preparation import prepare
from support.models import model_folder

if TYPE_CHECKING:
    from npuopt.graph import Model, Value

pytestmark = pytest.mark.models

RELATIVE = 1e-4
LAYERS = 2
BERT = {"Attention": LAYERS, "LayerNormalization": 2 * LAYERS + 1, "Gelu": LAYERS}
VIT = {"Attention": LAYERS, "LayerNormalization": 2 * LAYERS + 1, "Gelu": LAYERS}
LLAMA = {"Attention": LAYERS, "RotaryEmbedding": 2 * LAYERS, "RMSNormalization": 2 * LAYERS + 1, "Swish": LAYERS}
GEMMA = {"Attention": LAYERS, "RotaryEmbedding": 2 * LAYERS, "RMSNormalization": 6 * LAYERS + 1, "Gelu": LAYERS}
"""Gemma normalizes around each of its halves, and the queries and keys."""
GONE = ("Softmax", "Erf", "Tanh", "Pow", "Sqrt", "Neg", "IsNaN", "Sigmoid", "Div", "ReduceMean")
CASES = {
    "bert_eager": BERT,
    "bert_sdpa": BERT,
    "vit_sdpa": VIT,
    "llama_eager": LLAMA,
    "llama_sdpa": LLAMA,
    "gemma_eager": GEMMA,
}
HEADS = {"llama": (2, 8), "gemma": (1, 16)}
BATCH, SEQUENCE, PAST = 3, 9, 7
PADDINGS = {"all ones": None, "left": slice(0, 4), "right": slice(5, None)}


def raised(model: Model) -> Counter[str]:
    prepare(model, Runner(None, "off"), {}, say=lambda _: None)
    return Counter(node.op_type for node in model.graph.all_nodes())


def heads_of(value: Value | None) -> object:
    return (dims(value) or ())[1]


def feeds(name: str, padded: slice | None) -> dict[str, np.ndarray]:
    """Return inputs for a model, in a batch and lengths that it was not exported with."""
    draw = np.random.default_rng(0)
    if name.startswith("vit"):
        return {"image": draw.normal(size=(BATCH, 3, 32, 32)).astype(np.float32)}
    ids = draw.integers(0, 100, (BATCH, SEQUENCE))
    heads = HEADS.get(name.split("_", maxsplit=1)[0])
    mask = np.ones((BATCH, SEQUENCE + (PAST if heads else 0)), np.int64)
    if padded is not None:
        mask[1, padded] = 0
    if heads is None:
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    past = {
        f"past.{layer}.{kind}": draw.normal(size=(BATCH, heads[0], PAST, heads[1])).astype(np.float32)
        for layer in range(LAYERS)
        for kind in ("key", "value")
    }
    return {"input_ids": ids, "attention_mask": mask, **past}


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("name", CASES)
def test_the_ops_are_those_of_the_architecture(name: str, exporter: str) -> None:
    path = model_folder("exporters") / f"{name}_{exporter}.onnx"
    source, model = load(path), load(path)
    found = raised(model)
    assert {op_type: found[op_type] for op_type in CASES[name]} == CASES[name]
    grouped = [heads_of(node.inputs[0]) != heads_of(node.inputs[1]) for node in nodes(model, "Attention")]
    assert all(grouped) == (name.split("_", maxsplit=1)[0] in HEADS), "heads of keys are repeated"
    left = {op_type: found[op_type] for op_type in GONE if found[op_type]}
    assert left == ({"Tanh": 1} if name.startswith("bert") else {}), "the pooler's Tanh aside, nothing is spelled out"
    before, after = Session(source, threads=1), Session(model, threads=1)
    for padded in PADDINGS.values():
        inputs = feeds(name, padded)
        expected, got = before.run(inputs), after.run(inputs)
        for output, array in expected.items():
            largest = float(np.abs(array).max())
            assert float(np.abs(array - got[output]).max()) <= RELATIVE * largest, (output, padded)
