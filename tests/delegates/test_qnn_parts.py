"""The Hexagon road without its compiler: accounts, binaries, platforms and broken tools."""

from __future__ import annotations

import importlib.util
import platform
import sys

import onnx
import pytest
from delegates.qnn_cases import hexagon, quantized_model

from npuopt.delegates.contract import Limits
from npuopt.delegates.qnn import delegate
from npuopt.delegates.qnn.context import read_context
from npuopt.delegates.qnn.placement import PROVIDER, Account, nodes_on_device, original_name
from npuopt.delegates.qnn.toolchain import ensure_available, platform_fault
from npuopt.errors import InputError, ToolchainMissingError, VendorToolError

HOST = "CPUExecutionProvider"
SETTINGS = b"\0;enable=1;soc_type=SM8750;arch=79;num_nsps=1;vtcm_size=8388608;min_arch=68;\0"


@pytest.mark.parametrize(
    ("reported", "original"),
    [
        ("conv", "conv"),
        ("conv_token_12", "conv"),
        ("conv_token_3/duplicated", "conv"),
        ("linear/MatMulAddFusion", "linear"),
        ("kept_token_1", "kept_token_1"),
        ("kept_token_1_token_2", "kept_token_1"),
        ("Transpose_token_4", None),
        ("QNNExecutionProvider_QNNExecutionProvider_123_0", None),
    ],
)
def test_added_suffixes_are_stripped_down_to_a_name_of_the_model(reported, original):
    assert original_name(reported, {"conv": 1, "linear": 1, "kept_token_1": 1}) == original


def account_of(*, on_npu, on_host=(), **trace):
    return Account([(PROVIDER, list(on_npu)), *((HOST, [node]) for node in on_host)], trace)


@pytest.fixture
def model(tmp_path):
    return onnx.load(quantized_model(tmp_path / "net.onnx"))


def test_the_assignment_places_and_the_trace_explains(model):
    taken = [(node.name, node.op_type) for node in model.graph.node if node.name not in ("act", "x_q", "a_dq")]
    account = account_of(
        on_npu=taken,
        on_host=[("x_q", "QuantizeLinear"), ("act", "Relu"), ("a_dq", "DequantizeLinear")],
        unsupported_nodes=[
            {"node_name": "QNNExecutionProvider_1", "op_type": "EPContext", "reason": "a pseudo-node"},
            {"node_name": "act_token_9", "op_type": "Relu", "reason": "not\n today"},
        ],
    )
    placed = {node.name: node for node in nodes_on_device(model, account, model)}
    assert (placed["act"].on_npu, placed["act"].reason, placed["act"].edge) == (False, "not today", False)
    assert (placed["x_q"].on_npu, placed["x_q"].edge) == (False, True)
    assert placed["conv"].on_npu
    assert len(placed) == len(model.graph.node)


def test_a_node_of_which_one_copy_is_on_the_host_is_on_the_host(model):
    taken = [(node.name, node.op_type) for node in model.graph.node]
    account = account_of(on_npu=taken, on_host=[("c_dq/duplicated", "DequantizeLinear")])
    assert [node.name for node in nodes_on_device(model, account, model) if not node.on_npu] == ["c_dq"]


def operation(*sources):
    return {"dst_qnn_op_type": "X", "sources": [{"type": "OP", "name": name} for name in sources]}


def test_an_operation_that_absorbed_no_quantization_is_in_float(model):
    taken = [(node.name, node.op_type) for node in model.graph.node]
    mappings = [operation("x_dq", "w_dq", "conv", "c_q"), operation("c_dq"), operation("act"), operation("a_q")]
    account = account_of(on_npu=taken, subgraph_traces=[{"op_mappings": mappings}])
    reasons = {node.name: node.reason for node in nodes_on_device(model, account, model) if node.reason}
    assert reasons == {"act": "computed in float between Dequantize and Quantize"}


def context_model(path, *, binary="net_ctx_qnn.bin", settings=SETTINGS, op_type="EPContext"):
    node = onnx.helper.make_node(op_type, ["x"], ["y"], "ctx", domain="com.microsoft", ep_cache_context=binary.encode())
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:])), path)
    if "/" not in binary:
        (path.parent / binary).write_bytes(b"\1" * 5000 + settings)
    return path


def test_a_binary_says_what_it_was_built_for(tmp_path):
    context = read_context(context_model(tmp_path / "net_ctx.onnx"))
    assert (context.soc, context.arch, context.vtcm_bytes, context.graphs) == ("SM8750", "v79", 8 << 20, 1)


def test_a_binary_with_two_minds_is_refused(tmp_path):
    both = SETTINGS + SETTINGS.replace(b"SM8750", b"SM8650")
    with pytest.raises(VendorToolError, match="says SM8650, SM8750 about its soc"):
        read_context(context_model(tmp_path / "net_ctx.onnx", settings=both))


def test_a_binary_that_says_nothing_is_refused(tmp_path):
    with pytest.raises(VendorToolError, match="says nothing about its soc"):
        read_context(context_model(tmp_path / "net_ctx.onnx", settings=b"x"))


@pytest.mark.parametrize("binary", ["../secret.bin", "/etc/passwd", "folder/x.bin", ""])
def test_a_binary_elsewhere_is_refused(tmp_path, binary):
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.bin").write_bytes(SETTINGS)
    with pytest.raises(InputError, match="is not beside it"):
        read_context(context_model(tmp_path / "inner" / "net_ctx.onnx", binary=binary or "/"))


def test_a_model_without_context_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing in it is compiled"):
        read_context(context_model(tmp_path / "net_ctx.onnx", op_type="Other"))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "net_ctx.onnx").write_bytes(b"\xff\xff nonsense")
    with pytest.raises(InputError, match="cannot be read as an ONNX model"):
        read_context(tmp_path / "net_ctx.onnx")


@pytest.mark.parametrize(
    ("system", "machine", "libc", "fault"),
    [
        ("darwin", "arm64", ("", ""), "x86-64 Linux only"),
        ("linux", "aarch64", ("glibc", "2.36"), "x86-64 Linux only"),
        ("linux", "x86_64", ("glibc", "2.31"), "glibc 2.35 or newer, and this system has 2.31"),
        ("linux", "x86_64", ("", ""), "needs glibc"),
        ("linux", "x86_64", ("glibc", "2.35"), ""),
    ],
)
def test_platforms(monkeypatch, system, machine, libc, fault):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    if not fault:
        assert platform_fault() == ""
        return
    with pytest.raises(ToolchainMissingError, match=fault):
        ensure_available()


def test_a_missing_extra_names_its_command(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("npuopt.delegates.qnn.toolchain.platform_fault", str)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime_qnn" else found(name))
    with pytest.raises(ToolchainMissingError, match=r'pip install "npuopt\[qnn\]"') as caught:
        ensure_available()
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("source", "seconds", "message"),
    [
        ("import os; os.kill(os.getpid(), 11)", 60, r"the Hexagon compiler crashed \(Segmentation fault\)"),
        ("import os; os.abort()", 60, r"the Hexagon compiler crashed \(Aborted\)"),
        ("import time; time.sleep(600)", 1, "did not end in time"),
        ("print('garbage')", 60, r"ended without an answer \(garbage\)"),
        ("raise SystemExit('no such library')", 60, r"failed with exit code 1 \(no such library\)"),
        (
            "import json, sys; json.dump({'refused': 'Failed to finalize QNN graph'}, open(sys.argv[2], 'w'))",
            60,
            "refused it: Failed to finalize QNN graph",
        ),
    ],
)
def test_a_broken_compiler_is_one_sentence_with_its_log(tmp_path, monkeypatch, source, seconds, message):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(delegate, "ensure_available", lambda: None)
    worker = tmp_path / "worker.py"
    worker.write_text(source)
    monkeypatch.setattr(delegate, "WORKER", worker)
    folder = tmp_path / "region"
    folder.mkdir()
    with pytest.raises(VendorToolError, match=message) as caught:
        delegate.QnnDelegate().compile(
            quantized_model(tmp_path / "net.onnx"), folder, hexagon(), limits=Limits(seconds, memory_mib=1024)
        )
    assert "; its log: " in str(caught.value)
    assert "\n" not in str(caught.value)
