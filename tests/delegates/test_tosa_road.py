"""The TOSA road with Arm's own converter and reference model, on small models."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from npuopt import api
from npuopt.delegates.contract import CompiledRegion, Limits
from npuopt.delegates.litert.region import MODEL_FILE, PORTS_FILE
from npuopt.delegates.tosa.delegate import TosaDelegate, conformance, drawn
from npuopt.errors import InputError, InternalError, VendorToolError
from npuopt.graph import save
from npuopt.road.options import CompileOptions
from npuopt.target import load_target
from support.rewrites import model_from
from support.toolchains import needs_toolchain

pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")
pytestmark = [pytest.mark.toolchain, pytest.mark.litert]

LIMITS = Limits(seconds=60, memory_mib=2048)
TARGET = load_target("arm/tosa-1.0")


@pytest.fixture(scope="module", autouse=True)
def tosa():
    return needs_toolchain("tosa")


def network(folder):
    """Write an encoder's worth of ops, small: convolution, sum, mean, softmax and a product of two run-time sides."""
    random = np.random.default_rng(0)
    shapes = {"w": (8, 3, 3, 3), "b": (8,), "v": (8, 8)}
    constants = [numpy_helper.from_array(random.normal(size=of).astype("f"), name) for name, of in shapes.items()]
    constants.append(numpy_helper.from_array(np.array([1, 64, 8], np.int64), "rows"))
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "convolution", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"], "positive"),
        helper.make_node("Transpose", ["r"], ["t"], "channels_last", perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["t", "rows"], ["s"], "sequence"),
        helper.make_node("MatMul", ["s", "v"], ["q"], "queries"),
        helper.make_node("Transpose", ["s"], ["k"], "keys", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "k"], ["a"], "scores"),
        helper.make_node("Softmax", ["a"], ["p"], "weights"),
        helper.make_node("MatMul", ["p", "s"], ["m"], "mixed"),
        helper.make_node("Add", ["m", "s"], ["y"], "residual"),
    ]
    edge = [helper.make_tensor_value_info(name, 1, of) for name, of in (("x", [1, 3, 16, 16]), ("y", [1, 64, 8]))]
    graph = helper.make_graph(nodes, "network", edge[:1], edge[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), folder / "m.onnx")
    np.savez(folder / "data.npz", x=random.normal(size=(8, 1, 3, 16, 16)).astype("f"))
    return folder / "m.onnx", folder / "data.npz"


def test_a_small_network_is_computed_bit_for_bit_as_litert_does(tmp_path):
    model, data = network(tmp_path)
    manifest = api.compile(model, "arm/tosa-1.0", tmp_path / "out", CompileOptions(calibration=data))
    assert manifest.placement.npu_fraction == 1.0
    [step] = manifest.steps
    assert step.figures["against_litert"] == {"elements": 512, "differing": 0, "most_steps": 0}
    assert step.figures["tosa_operators"]["MATMUL"] == 2
    assert step.figures["toolchain"]["versions"]["tosa-tools"] == "2026.8.0"
    assert (tmp_path / "out" / step.files[0]).read_bytes()[4:8] == b"TOSA"
    [compiled] = [stage for stage in manifest.verification if stage.name == "compiled"]
    assert all((output.cosine or 1.0) > 0.999 for output in compiled.outputs.values())
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["tools"]["tosa-tools"] == "2026.8.0"


def test_what_the_profile_does_not_have_is_an_error_with_the_validator_s_reason(tmp_path):
    text = "(float[1, 4] x) => (float[1, 4] y) { [float] y = Exp(x) }"
    save(model_from(text), tmp_path / "region.onnx")
    (tmp_path / "out").mkdir()
    with pytest.raises(VendorToolError, match=r"TOSA converter refused it: .*tosa.exp.*(profile|pro_fp)"):
        TosaDelegate().compile(tmp_path / "region.onnx", tmp_path / "out", TARGET, limits=LIMITS)


def test_an_op_without_a_tflite_form_is_named(tmp_path):
    save(model_from("(float[1, 4] x) => (float[1, 4] y) { [odd] y = Erf(x) }"), tmp_path / "region.onnx")
    with pytest.raises(VendorToolError, match="Erf has no TFLite form"):
        TosaDelegate().compile(tmp_path / "region.onnx", tmp_path, TARGET, limits=LIMITS)


def test_a_damaged_flatbuffer_is_a_failure_of_the_tool_and_no_crash_of_ours(tmp_path):
    model, data = network(tmp_path)
    manifest = api.compile(model, "arm/tosa-1.0", tmp_path / "out", CompileOptions(calibration=data, verify="off"))
    folder = (tmp_path / "out" / manifest.steps[0].files[0]).parent
    region = CompiledRegion("tosa", folder, ("model.tosa", MODEL_FILE, PORTS_FILE))
    with pytest.raises(InputError, match="is missing from the sample"):
        TosaDelegate().run(region, [{}], TARGET, limits=LIMITS)
    whole = (folder / "model.tosa").read_bytes()
    (folder / "model.tosa").write_bytes(whole[: len(whole) // 2])
    sample = {"x": np.zeros((1, 3, 16, 16), np.float32)}
    with pytest.raises(VendorToolError, match="TOSA reference model"):
        TosaDelegate().run(region, [sample], TARGET, limits=LIMITS)


def test_another_road_s_target_is_a_mistake_of_ours():
    with pytest.raises(InternalError, match="not by tosa"):
        conformance(load_target("arm/ethos-u85-512"))


def test_drawn_data_fill_their_types():
    from npuopt.delegates.litert.ports import Port  # noqa: PLC0415 -- beside its one use

    ports = [Port(kind, (64, 64), kind, (0, 1), kind) for kind in ("int8", "int16", "int32", "float32")]
    small, wide, index, real = drawn(ports)
    assert (small.min(), small.max()) == (-128, 127)
    assert wide.max() > 30_000
    assert not index.any()
    assert real.dtype == np.float32
