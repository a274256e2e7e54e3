"""Regions of more weights than a target takes at once."""

import numpy as np
import pytest

from npuopt import api
from npuopt.errors import PlacementError
from npuopt.graph import Session, infer_shapes, parse
from npuopt.partition import extract_region, partition, plan_memory
from npuopt.road.options import CompileOptions, LanguageModelOptions
from npuopt.runtime import open_decoder
from npuopt.target import parse_target
from support.paths import ROOT

CHIP = """
name: toy/chip
title: Toy
source: invented
delegate: {{road: tvm, triple: none, cpu: none}}
memory: {{max_region_kib: {limit}}}
schemes:
  fp32: {{activation: float32}}
  fp16: {{activation: float16, tensors: [float32, float16]}}
ops:
  MatMul: {{schemes: [fp32, fp16]}}
  Relu: {{schemes: [fp32, fp16]}}
  Add: {{schemes: [fp32, fp16]}}
"""
LAYERS = 5
"""Each is a product of 16 x 16 (1 KiB in fp32), and what was ahead of it added again."""


def chip(limit):
    return parse_target(CHIP.format(limit=limit))


def layers():
    numbers = ", ".join(str(place % 13 / 13) for place in range(256))
    weights = ", ".join(f"float[16,16] w{index} = {{{numbers}}}" for index in range(LAYERS))
    body = "".join(
        f"m{index} = MatMul(x{index}, w{index}) r{index} = Relu(m{index}) x{index + 1} = Add(r{index}, x{index}) "
        for index in range(LAYERS)
    )
    ends = f"(float[2,16] x0) => (float[2,16] x{LAYERS})"
    model = parse(f'<ir_version: 12, opset_import: ["" : 24]> g {ends} <{weights}> {{ {body} }}')
    infer_shapes(model)
    return model


@pytest.mark.parametrize(
    ("limit", "scheme", "counts"),
    [
        (2, "fp32", [6, 6, 3]),
        (2, "fp16", [12, 3]),
        (1, "fp32", [3] * LAYERS),
        (5, "fp32", [15]),
    ],
)
def test_shards_hold_what_the_target_takes_and_end_between_layers(limit, scheme, counts):
    target = chip(limit)
    plan = partition(layers(), target, scheme)
    assert [len(part.nodes) for part in plan.regions] == counts
    assert all(len(part.outputs) == 1 for part in plan.regions), "between layers, one tensor is handed over"
    for part in plan.regions:
        planned = plan_memory(part, target, scheme)
        assert planned is not None
        assert planned.weights <= limit * 1024
    assert plan.summary.npu_fraction == 1


def test_shards_in_turn_compute_what_the_model_computes():
    model = layers()
    given = {"x0": np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)}
    expected, values = Session(model).run(given), dict(given)
    for part in partition(model, chip(2), "fp32").parts:
        session = Session(extract_region(model, part))
        values.update(session.run({name: values[name] for name in part.inputs}))
    np.testing.assert_allclose(values[f"x{LAYERS}"], expected[f"x{LAYERS}"], rtol=1e-6)


def test_a_target_that_cannot_hold_one_layer_is_named_with_the_figures():
    numbers = ", ".join("1" for _ in range(512))
    text = f"g (float[2,16] x) => (float[2,32] y) <float[16,32] w = {{{numbers}}}> {{ y = MatMul(x, w) }}"
    model = parse(f'<ir_version: 12, opset_import: ["" : 24]> {text}')
    infer_shapes(model)
    with pytest.raises(PlacementError, match="holds 2,048 bytes of weights, and toy/chip takes 1,024 bytes") as caught:
        partition(model, chip(1), "fp32")
    assert "--precision" in caught.value.hint


def test_without_a_limit_regions_stay_whole():
    unlimited = parse_target(CHIP.format(limit=1).replace("max_region_kib: 1", "scratchpad_kib: 1"))
    assert len(partition(layers(), unlimited, "fp32").regions) == 1


def test_a_language_model_speaks_from_shards(tmp_path):
    """Its layers do not fit into one region; the artifact runs their shards in turn."""
    text = (ROOT / "targets" / "host" / "onnxruntime.yaml").read_text()
    path = tmp_path / "small.yaml"
    path.write_text(f"{text}\nmemory: {{max_region_kib: 4096}}\n")
    wanted = CompileOptions(precision="fp32", language_model=LanguageModelOptions(context=32, chunk=8))
    tiny = ROOT / "examples" / "tiny_llama" / "model.onnx"
    manifest = api.compile(tiny, str(path), tmp_path / "out", wanted)
    assert manifest.language_model is not None
    assert {profile.name: len(profile.steps) for profile in manifest.language_model.profiles} == {
        "prefill": 4,
        "decode": 4,
    }
    tokens, found = [3, 5, 8, 13, 21, 34, 55, 89, 144], {}
    for engine in ("cpu", "device"):
        found[engine] = open_decoder(tmp_path / "out", engine=engine, threads=1).read_all(tokens)
    np.testing.assert_allclose(found["device"], found["cpu"], atol=1e-4)
