"""Several regions in one binary of the Hexagon compiler, which holds weights that are equal once."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
from delegates.qnn_cases import hexagon

from npuopt import api
from npuopt.delegates.contract import Limits, WeightSharer
from npuopt.delegates.qnn.context import read_context
from npuopt.delegates.qnn.delegate import QnnDelegate
from npuopt.errors import VendorToolError
from npuopt.graph.execution import Session
from npuopt.road.options import CompileOptions, LanguageModelOptions
from npuopt.runtime import open_decoder
from support.paths import ROOT

pytestmark = [pytest.mark.qnn, pytest.mark.xdist_group("qnn")]
pytest.importorskip("onnxruntime_qnn", reason="the qnn extra is not installed")

LIMITS = Limits(seconds=120, memory_mib=4096)
WIDTH = 512


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def products(path, rows, op="MatMul"):
    """Write a model of so many rows; all of them have the same weights."""
    shape = f"float[1,{rows},{WIDTH}]"
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 21]>
        plain ({shape} x) => ({shape} y) {{ [first] a = {op} (x, w) [act] b = Relu (a) [last] y = MatMul (b, w) }}
    """)
    weights = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32) / 16
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(model, path)
    return path


def test_equal_weights_of_two_regions_are_in_one_binary_once(tmp_path):
    delegate = QnnDelegate()
    assert isinstance(delegate, WeightSharer)
    models = [products(tmp_path / f"rows_{rows}.onnx", rows) for rows in (8, 1)]
    regions = delegate.compile_sharing(models, tmp_path, hexagon(), limits=LIMITS)
    contexts = [read_context(region.folder / region.files[0]) for region in regions]
    assert {context.binary.name for context in contexts} == {"rows_8_ctx_qnn.bin"}
    (tmp_path / "alone").mkdir()
    alone = delegate.compile(models[0], tmp_path / "alone", hexagon(), limits=LIMITS).figures["binary_bytes"]
    assert contexts[0].binary.stat().st_size < 1.2 * alone
    for region, model, rows in zip(regions, models, (8, 1), strict=True):
        assert [(node.name, node.on_npu) for node in region.nodes] == [("first", True), ("act", True), ("last", True)]
        assert region.figures["weights_shared_by"] == ["rows_8", "rows_1"]
        assert all((region.folder / name).is_file() for name in (*region.files, region.log))
        sample = {"x": np.random.default_rng(1).normal(size=(1, rows, WIDTH)).astype(np.float32)}
        simulated = delegate.run(region, [sample], hexagon(), limits=LIMITS)[0]["y"]
        np.testing.assert_allclose(simulated, Session(model, threads=1).run(sample)["y"], atol=0.05)


def test_a_region_that_cannot_be_compiled_is_named(tmp_path):
    good, bad = products(tmp_path / "good.onnx", 8), tmp_path / "bad.onnx"
    model = onnx.load(products(bad, 1))
    model.graph.node[0].op_type = "Erf"
    del model.graph.node[0].input[1:]
    onnx.save(model, bad)
    regions = QnnDelegate().compile_sharing([good, bad], tmp_path, hexagon(), limits=LIMITS)
    assert [node.name for node in regions[1].nodes if not node.on_npu] == ["first"], "left to the host, and said so"
    model.graph.node[0].op_type = "NoSuchOp"
    onnx.save(model, bad)
    with pytest.raises(VendorToolError, match=r"bad\.onnx"):
        QnnDelegate().compile_sharing([good, bad], tmp_path / "again", hexagon(), limits=LIMITS)


def test_the_profiles_of_a_language_model_share_their_weights(tmp_path):
    tiny = ROOT / "examples" / "tiny_llama" / "model.onnx"
    wanted = LanguageModelOptions(context=32, chunk=8, last_logits=True, head="region", share_weights=True)
    options = CompileOptions(precision="fp16", verify="off", language_model=wanted)
    record = api.compile(tiny, "qualcomm/sm8750", tmp_path / "out", options).language_model
    assert record is not None
    steps = [step for profile in record.profiles for step in profile.steps]
    assert [step.name for step in steps] == ["npu-0", "head"] * 2
    (binary,) = {name for step in steps for name in step.files if name.endswith(".bin")}
    half_precision = (tmp_path / "out" / "profiles" / "weights.data").stat().st_size / 2
    assert (tmp_path / "out" / "profiles" / binary).stat().st_size < 1.3 * half_precision, "not twice"
    found = [open_decoder(tmp_path / "out", engine=engine, threads=1).read([3, 5, 8]) for engine in ("cpu", "device")]
    np.testing.assert_allclose(found[1], found[0], atol=0.05)
