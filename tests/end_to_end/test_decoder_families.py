"""Decoders of several families, from both of torch's exporters: recognised, and static as they were dynamic."""

from __future__ import annotations

import numpy as np
import pytest

from npuopt.decoder import NO_HINTS
from npuopt.road.decoding import cache_form, open_decoder
from npuopt.road.language_model import build_profiles
from npuopt.road.options import CompileOptions, LanguageModelOptions, silent
from npuopt.target import load_target
from support.decoders import Dynamic, static_driver
from support.models import model_folder

pytestmark = pytest.mark.models

WANTED = LanguageModelOptions(context=48, chunk=8)
TOKENS = np.random.default_rng(0).integers(0, 100, 40).tolist()
FACTS = {
    "gemma": {
        "attention": "1 layers look at all tokens, 1 layers look at the last 8",
        "positions": "rotary, 2 kinds",
        "queries and keys": "normalized",
        "heads": "4 of queries, 1 of keys and values, size 16",
    },
    "gpt2": {"positions": "learned vectors", "queries and keys": "as they are", "heads": "4, size 12"},
    "llama": {"positions": "rotary", "heads": "6 of queries, 2 of keys and values, size 8"},
    "phi": {"positions": "rotary, the first 6 numbers of a head", "heads": "4, size 12"},
    "qwen": {"positions": "rotary", "queries and keys": "normalized"},
}
FILES = {"gemma": "exporters/gemma_eager", "llama": "exporters/llama_eager"}
"""What lies elsewhere than in the folder of decoders."""
every_exporter = pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
every_family = pytest.mark.parametrize("family", FACTS)


def path_of(family, exporter):
    folder, name = FILES.get(family, f"decoders/{family}").split("/")
    return model_folder(folder) / f"{name}_{exporter}.onnx"


@every_exporter
@every_family
@pytest.mark.parametrize("form", ["new", "in-place", "whole"])
def test_static_profiles_equal_the_dynamic_model(family, exporter, form):
    path = path_of(family, exporter)
    static, dynamic = static_driver(path, WANTED, form), Dynamic(path)
    found = static.record.facts
    assert {name: found[name] for name in FACTS[family]} == FACTS[family]
    expected = [dynamic.feed(TOKENS[:21]), *(dynamic.feed([token]) for token in TOKENS[21:])]
    got = [static.feed(TOKENS[:21]), *(static.feed([token]) for token in TOKENS[21:])]
    np.testing.assert_allclose(np.concatenate(got), np.concatenate(expected), rtol=0, atol=1e-4)


@every_exporter
@every_family
@pytest.mark.parametrize(("chip", "scheme"), [("qualcomm/sm8750", "fp16"), ("arm/ethos-u85-256", "a8w8")])
def test_every_node_is_for_the_device(family, exporter, chip, scheme):
    """Lookups and index arithmetic ahead of it are at the edge."""
    target = load_target(chip)
    opened = open_decoder(path_of(family, exporter), WANTED.context, NO_HINTS, say=silent)
    options = CompileOptions(language_model=WANTED)
    built = build_profiles(opened, target, scheme, cache_form(target, None), options, None, say=silent)
    refused = {
        name: [(item.node.op_type, item.reasons) for item in made.plan.placements if item.where == "host"]
        for name, made in built.items()
    }
    assert refused == {"prefill": [], "decode": []}
