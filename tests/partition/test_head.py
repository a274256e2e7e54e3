"""A part of its own for what makes an output last."""

import numpy as np
import pytest

from npuopt import api
from npuopt.errors import UsageError
from npuopt.graph import Session
from npuopt.partition import extract_region, partition
from npuopt.road.options import CompileOptions, LanguageModelOptions
from npuopt.runtime import StepRunner, open_decoder
from support.partition_toys import TARGET, model_from
from support.paths import ROOT

TINY = ROOT / "examples" / "tiny_llama" / "model.onnx"
TOKENS = [3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610]


def parts_of(body):
    plan = partition(model_from(body), TARGET, head="y", min_nodes=1)
    return [(part.name, [node.op_type for node in part.nodes]) for part in plan.parts]


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("a = MatMul(x, x)  b = Relu(a)  y = MatMul(b, b)", [("npu-0", ["MatMul", "Relu"]), ("head", ["MatMul"])]),
        ("a = MatMul(x, x)  b = MatMul(a, a)  y = Relu(b)", [("npu-0", ["MatMul"]), ("head", ["MatMul", "Relu"])]),
        (
            "a = MatMul(x, x)  b = MatMul(a, a)  c = MatMul(a, x)  y = Add(b, c)",
            [("npu-0", ["MatMul"]), ("head", ["MatMul", "MatMul", "Add"])],
        ),
        (
            "a = MatMul(x, x)  b = MatMul(a, a)  y = Sin(b)",
            [("npu-0", ["MatMul"]), ("head", ["MatMul"]), ("head-1", ["Sin"])],
        ),
        ("y = MatMul(x, x)", [("head", ["MatMul"])]),
    ],
    ids=["product", "with what follows", "two products", "refused nodes", "nothing else"],
)
def test_the_last_product_and_what_follows_are_the_head(body, parts):
    assert parts_of(body) == parts


def test_parts_in_turn_compute_what_the_model_computes():
    model = model_from("a = MatMul(x, x)  b = Relu(a)  c = MatMul(b, a)  y = Sin(c)")
    values = {"x": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)}
    expected = Session(model).run(values)["y"]
    for part in partition(model, TARGET, head="y").parts:
        values.update(Session(extract_region(model, part)).run({name: values[name] for name in part.inputs}))
    np.testing.assert_array_equal(values["y"], expected)


def test_an_output_without_a_product_has_no_head():
    with pytest.raises(UsageError, match="output 'y' has no head of its own: no product makes it"):
        partition(model_from("y = Relu(x)"), TARGET, head="y")


@pytest.mark.parametrize(
    ("precision", "more"),
    [("fp32", {}), ("fp32", {"last_logits": True, "embedding": "host"}), ("a8w8", {"last_logits": True})],
    ids=["all logits", "last logits, embedding on the host", "quantized"],
)
def test_a_language_model_with_a_head_of_its_own(tmp_path, precision, more, monkeypatch):
    """Chunks ahead of the last run without it; where it is the same in all profiles, it is compiled once."""
    out, texts = tmp_path / "out", None if precision == "fp32" else tmp_path / "texts.npz"
    if texts is not None:
        np.savez(texts, input_ids=[TOKENS])
    wanted = CompileOptions(
        precision=precision,
        calibration=texts,
        without_steps=("round-weights",),
        language_model=LanguageModelOptions(context=32, chunk=4, head="region", **more),
    )
    record = api.compile(TINY, "host/onnxruntime", out, wanted).language_model
    assert record is not None
    assert all([step.name for step in profile.steps][-1] == "head" for profile in record.profiles)
    heads = {profile.steps[-1].model for profile in record.profiles}
    assert len(heads) == (1 if "last_logits" in more else 2)
    assert all((out / "profiles" / model).is_file() for model in heads)

    ran, run = [], StepRunner._run
    monkeypatch.setattr(StepRunner, "_run", lambda self, step, feeds: ran.append(step.name) or run(self, step, feeds))
    expected = open_decoder(out, threads=1).read(TOKENS)
    np.testing.assert_allclose(open_decoder(out, engine="device").read(TOKENS), expected, atol=1e-4)
    assert ran.count("head") == 1
    assert ran[-1] == "head"
    assert len(ran) > 3, "three chunks"
