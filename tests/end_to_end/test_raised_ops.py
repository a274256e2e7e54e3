"""A target that takes Attention and RotaryEmbedding gets them, and its compiler computes them right."""

from collections import Counter

import pytest

from npuopt import api
from npuopt.graph import load
from npuopt.road.options import CompileOptions
from support.paths import EXAMPLES

pytestmark = [pytest.mark.qnn, pytest.mark.slow]


def test_tiny_llama_in_half_precision(tmp_path) -> None:
    options = CompileOptions(dims={"batch": 1, "seq": 1, "past": 127}, precision="fp16")
    manifest = api.compile(EXAMPLES / "tiny_llama" / "model.onnx", "qualcomm/sm8750", tmp_path / "out", options)
    assert manifest.placement.npu_fraction == 1
    left = Counter(node.op_type for node in load(tmp_path / "out" / "model.onnx").graph)
    assert (left["Attention"], left["RotaryEmbedding"], left["Softmax"]) == (6, 12, 0)
    compiled = next(stage for stage in manifest.verification if stage.name == "compiled")
    assert min(item.cosine or 0 for item in compiled.outputs.values()) > 0.999
