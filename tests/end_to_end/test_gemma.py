"""A real Gemma 3 270M: raised to the ops of its architecture, with the numbers that it had."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from npuopt.decoder import NO_HINTS
from npuopt.graph import Session, dims, is_op, load, nodes
from npuopt.graph.queries import attribute
from npuopt.pipeline.runner import Runner
from npuopt.road.decoding import cache_form, open_decoder
from npuopt.road.language_model import build_profiles
from npuopt.road.options import CompileOptions, LanguageModelOptions, silent
from npuopt.road.preparation import prepare
from npuopt.target import load_target
from support.models import model_folder

if TYPE_CHECKING:
    from npuopt.graph import Value

pytestmark = pytest.mark.models

LAYERS, HEADS, KEY_HEADS = 18, 4, 1
RAISED = {
    "Attention": LAYERS,
    "RotaryEmbedding": 2 * LAYERS,
    "RMSNormalization": 6 * LAYERS + 1,
    "Gelu": LAYERS,
    "MatMul": 7 * LAYERS + 1,
}
"""Four products of an attention, three of a gate, the head; norms around both halves, of queries and of keys."""
SPELLED_OUT = ("Softmax", "Tanh", "Pow", "Sqrt", "Neg", "Reciprocal", "ReduceMean", "Slice", "Tile")
RELATIVE = 1e-4


def heads_of(value: Value | None) -> object:
    return (dims(value) or ())[1]


def test_gemma_is_raised_and_keeps_its_numbers() -> None:
    path = model_folder("gemma") / "model.onnx"
    ids = np.random.default_rng(0).integers(2, 200_000, (1, 9))
    expected = Session(load(path), threads=1).run({"input_ids": ids})["logits"]
    model = load(path)
    prepare(model, Runner(None, "off"), {}, say=lambda _: None)
    found = Counter(node.op_type for node in model.graph.all_nodes())
    assert {op_type: found[op_type] for op_type in RAISED} == RAISED
    assert not any(found[op_type] for op_type in SPELLED_OUT)
    for node in nodes(model, "Attention"):
        assert [heads_of(value) for value in node.inputs[:3]] == [HEADS, KEY_HEADS, KEY_HEADS]
    for gelu in nodes(model, "Gelu"):
        assert attribute(gelu, "approximate", "none") == "tanh"
        (use,) = gelu.outputs[0].uses()
        assert is_op(use.node, "Mul"), "it gates"
    logits = Session(model, threads=1).run({"input_ids": ids})["logits"]
    assert float(np.abs(logits - expected).max()) <= RELATIVE * float(np.abs(expected).max())
    assert (logits.argmax(-1) == expected.argmax(-1)).all()


@pytest.mark.parametrize("scheme", ["fp16", "a16w8"])
def test_every_node_of_both_profiles_is_for_the_npu(scheme) -> None:
    """The context is longer than the window; the exported model has no cache, so one is added."""
    target, options = load_target("qualcomm/sm8750"), LanguageModelOptions(context=1024, chunk=128)
    opened = open_decoder(model_folder("gemma") / "model.onnx", options.context, NO_HINTS, say=silent)
    assert opened.decoder.windows == (None, 512)
    form = cache_form(target, None)
    built = build_profiles(opened, target, scheme, form, CompileOptions(language_model=options), None, say=silent)
    assert {name: {item.where for item in made.plan.placements} for name, made in built.items()} == {
        "prefill": {"npu"},
        "decode": {"npu"},
    }
