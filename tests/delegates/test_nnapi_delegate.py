"""The NNAPI road: the descriptor against ONNX Runtime's own table and checker, and what is written."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from npuopt.delegates.contract import Limits
from npuopt.delegates.nnapi.delegate import CHECKER, NnapiDelegate
from npuopt.graph import Session
from npuopt.target import load_target

LIMITS = Limits(seconds=60, memory_mib=2048)
HEAD = '<ir_version: 10, opset_import: ["" : 21]>'


def table() -> dict[str, str]:
    """Return the ops of the checker's table with their notes."""
    spec = find_spec(CHECKER)
    assert spec is not None
    text = (Path(str(spec.origin)).parent / "nnapi_supported_ops.md").read_text()
    return dict(re.findall(r"^\|([\w.]+:\w+)\|(.*)\|$", text, re.MULTILINE))


QUANTIZED = {"QLinearConv": "Conv", "QLinearMatMul": "MatMul", "QLinearAdd": "Add", "QLinearAveragePool": "AveragePool",
             "QLinearSigmoid": "Sigmoid"}  # fmt: skip


def test_the_descriptor_has_the_ops_of_the_table():
    ops = {name.partition(":")[2] for name in table()}
    assert set(load_target("android/nnapi").ops) == ops - QUANTIZED.keys()


def test_the_quantized_ops_are_those_of_the_table():
    rules = load_target("android/nnapi").ops
    ops = {name.partition(":")[2] for name in table()}
    assert {name for name, rule in rules.items() if "a8w8" in rule.schemes} == {
        QUANTIZED[op] for op in ops & {*QUANTIZED}
    }


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        model, folder = tmp_path / "model.onnx", tmp_path / "region"
        onnx.save(onnx.parser.parse_model(f"{HEAD} {text}"), model)
        folder.mkdir()
        return NnapiDelegate().compile(model, folder, load_target("android/nnapi"), limits=LIMITS)

    return write


def test_what_the_checker_takes_is_on_the_device(written):
    region = written("net (float[2,3] x) => (float[2,3] y) { [a] h = Relu (x)  [b] y = Sigmoid (h) }")
    assert [(node.name, node.on_npu) for node in region.nodes] == [("a", True), ("b", True)]
    assert region.figures["partitions"] == 1
    sample = {"x": np.array([[-1, 0, 1], [2, 3, 4]], np.float32)}
    (made,) = NnapiDelegate().run(region, [sample], load_target("android/nnapi"), limits=LIMITS)
    wanted = Session(region.folder.parent / "model.onnx").run(sample)
    assert np.allclose(made["y"], wanted["y"], atol=1e-6)


def test_what_the_checker_does_not_take_is_named(written):
    region = written("net (float[4] x) => (float[4] y) { [a] h = Relu (x)  [b] g = Erf (h)  [c] y = Relu (g) }")
    assert [(node.on_npu, node.reason) for node in region.nodes] == [
        (True, ""),
        (False, "the NNAPI provider has no ai.onnx:Erf"),
        (True, ""),
    ]
    assert region.figures["partitions"] == 2
