"""The IREE road: real modules where IREE is installed, and what happens when its tool crashes or hangs."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from npuopt.delegates.contract import Limits
from npuopt.delegates.host.linking import this_architecture
from npuopt.delegates.iree import delegate as road
from npuopt.errors import InternalError, UsageError, VendorToolError
from npuopt.graph import Session, infer_shapes, load, save
from npuopt.pipeline.legalize import legalize
from npuopt.road.preparation import lowerings
from npuopt.target import load_target
from npuopt.target.probing.questions import questions
from npuopt.toolchain.location import toolchains_folder
from support.toolchains import needs_toolchain

LIMITS = Limits(seconds=120, memory_mib=4096)
WEIGHT = ", ".join(f"{value:.2f}" for value in np.linspace(-1, 1, 54))
NET = f"""<ir_version: 10, opset_import: ["" : 24]> net (float[1,2,6,6] x) => (float[1,3] y, float[1,3] z)
    <float[3,2,3,3] w = {{{WEIGHT}}}, int64[2] shape = {{1, 3}}>
    {{ [conv] c = Conv (x, w)  [pool] p = GlobalAveragePool (c)
    [flat] y = Reshape (p, shape)  [norm] z = Softmax (y) }}
    """


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(NET), path)
    (tmp_path / "region").mkdir()
    return path


@pytest.fixture
def with_tool(tmp_path, monkeypatch):
    """Put a program in the place of the worker."""

    def put(program: str) -> None:
        worker = tmp_path / "worker.py"
        worker.write_text(program)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(road, "WORKER", worker)
        monkeypatch.setattr(road, "environment", lambda _: SimpleNamespace(python=sys.executable, licence="Apache-2.0"))

    return put


@pytest.mark.parametrize(
    ("program", "limits", "message"),
    [
        ("import os; os.abort()", LIMITS, "IREE crashed"),
        ("import time; time.sleep(60)", Limits(seconds=1), "IREE did not end in time and was stopped"),
        ("print('so long')", LIMITS, "IREE ended without an answer"),
        (
            "import json, sys; json.dump({'refused': 'failed to legalize operation'}, open(sys.argv[2], 'w'))",
            LIMITS,
            "IREE refused it: failed to legalize operation",
        ),
    ],
)
def test_a_tool_that_does_not_answer_is_one_clear_error(model, with_tool, program, limits, message):
    with_tool(program)
    with pytest.raises(VendorToolError, match=message):
        road.IreeDelegate().compile(model, model.parent / "region", load_target("host/iree-x86-64"), limits=limits)


def test_what_is_for_another_processor_does_not_run_here(model, with_tool):
    with_tool("")
    other = {"x86_64": "host/iree-aarch64"}.get(this_architecture(), "host/iree-x86-64")
    region = SimpleNamespace(folder=model.parent)
    with pytest.raises(UsageError, match="this machine is"):
        road.IreeDelegate().run(region, [], load_target(other), limits=LIMITS)


def test_another_roads_target_is_refused(model, with_tool):
    with_tool("")
    with pytest.raises(InternalError, match="host/onnxruntime is compiled by ort, not by iree"):
        road.IreeDelegate().compile(model, model.parent, load_target("host/onnxruntime"), limits=LIMITS)


@pytest.mark.toolchain
class TestWithIree:
    @pytest.fixture(autouse=True)
    def toolchain(self, tmp_path, monkeypatch):
        needs_toolchain("iree")
        monkeypatch.setenv("NPUOPT_TOOLCHAINS", str(toolchains_folder()))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def test_a_module_computes_what_onnx_runtime_computes(self, model):
        target = load_target("host/iree-x86-64")
        region = road.IreeDelegate().compile(model, model.parent / "region", target, limits=LIMITS)
        assert region.files == ("model.vmfb", "interface.onnx")
        assert region.figures["module_bytes"] == (region.folder / "model.vmfb").stat().st_size
        assert set(region.tools) == {"iree-base-compiler", "iree-base-runtime"}
        if region.elsewhere:
            return
        samples = [{"x": np.random.default_rng(seed).normal(size=(1, 2, 6, 6)).astype(np.float32)} for seed in (0, 1)]
        session = Session(model)
        for made, sample in zip(road.IreeDelegate().run(region, samples, target, limits=LIMITS), samples, strict=True):
            wanted = session.run(sample)
            assert set(made) == {"y", "z"}
            assert all(np.allclose(made[name], wanted[name], atol=1e-5) for name in made)

    def test_a_module_for_another_processor_needs_no_linker(self, model):
        target = load_target("host/iree-aarch64")
        region = road.IreeDelegate().compile(model, model.parent / "region", target, limits=LIMITS)
        assert (region.folder / "model.vmfb").stat().st_size > 1000
        assert this_architecture() == "aarch64" or region.elsewhere.startswith("compiled for aarch64-")

    @pytest.mark.parametrize(
        "body",
        [
            "(float[2,2,4] x, float[3,2,3] w) => (float[2,3,1] y) { y = Conv <strides = [2]> (x, w) }",
            "(float[1,2,4,4] x) => (float[1,2,1,2] y) { y = MaxPool <kernel_shape = [3, 1], strides = [2, 2]> (x) }",
            """(float[32,576] x) => (float[32,640] y) <int64[4] pads = {0, 0, 0, 64}>
            { y = Pad <mode = "reflect"> (x, pads) }""",
        ],
    )
    def test_what_the_compiler_fails_at_is_lowered(self, model, body):
        target, delegate = load_target("host/iree-x86-64"), road.IreeDelegate()
        onnx.save(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 24]> net {body}'), model)
        with pytest.raises(VendorToolError, match="inferred input"):
            delegate.compile(model, model.parent / "region", target, limits=LIMITS)
        loaded = load(model)
        infer_shapes(loaded)
        assert legalize(loaded, target, lowerings()).refused_after == 0
        save(loaded, model)
        assert delegate.compile(model, model.parent / "region", target, limits=LIMITS).files[0] == "model.vmfb"

    @pytest.mark.parametrize(
        ("node", "message"),
        [
            ("odd.Relu (x)", "odd::Relu is of another domain, and IREE reads the op's name only"),
            ("Swish (x)", "failed to legalize operation.*onnx.Swish"),
        ],
    )
    def test_an_op_that_is_not_taken_is_named(self, model, node, message):
        text = f'<ir_version: 10, opset_import: ["" : 24, "odd" : 1]> net (float[4] x) => (float[4] y) {{ y = {node} }}'
        onnx.save(onnx.parser.parse_model(text), model)
        with pytest.raises(VendorToolError, match=f"IREE refused it.*{message}"):
            road.IreeDelegate().compile(model, model.parent / "region", load_target("host/iree-x86-64"), limits=LIMITS)

    @pytest.mark.skipif(this_architecture() != "x86_64", reason="the modules are for x86-64")
    def test_the_compiler_answers_questions(self):
        target = load_target("host/iree-x86-64")
        asked = [one.question for one in questions(target, ["Relu"])][:2]
        answers = road.IreeDelegate().probe(asked, target, limits=LIMITS)
        assert [(one.taken, one.compared) for one in answers] == [(True, True)] * 2
