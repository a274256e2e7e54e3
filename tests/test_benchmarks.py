"""What the optimizer benchmark measures with: its models, its processes, and the memory bar, which no clock decides."""

import sys
from argparse import Namespace
from pathlib import Path

import onnx
import pytest

from benchmarks import optimize, synthetic
from npuopt.graph import load
from npuopt.pipeline.checks import count_nodes
from npuopt.pipeline.runner import Runner
from npuopt.road.optimizing import Optimizer, Wanted


def test_a_process_is_measured_whole(tmp_path) -> None:
    cpu, peak, succeeded = optimize.run([sys.executable, "-c", "sum(range(10**6)); held = b'x' * (50 << 20)"], 60)
    assert succeeded
    assert 0 < cpu < 60
    assert 50 < peak < 90


def test_what_this_process_holds_does_not_count() -> None:
    held = b"x" * (200 << 20)
    assert optimize.run([sys.executable, "-c", "pass"], 60)[1] < 50
    assert held[-1] == ord("x")


def test_a_process_that_fails_or_takes_too_long_is_told_from_one_that_ends_well() -> None:
    assert not optimize.run([sys.executable, "-c", "raise SystemExit(3)"], 60)[2]
    assert not optimize.run([sys.executable, "-c", "while True: pass"], 1)[2]


def test_a_process_gets_no_more_memory_than_it_may() -> None:
    command = [sys.executable, "-c", "held = b'x' * (600 << 20)"]
    assert optimize.run(command, 60)[2]
    assert not optimize.run(command, 60, gibibytes=0.5)[2]


def test_a_tool_without_a_model_is_told_from_one_without_time_or_memory(tmp_path, monkeypatch) -> None:
    programs = {
        "npuopt": "raise SystemExit(3)",
        "slow": "while True: pass",
        "large": "held = b'x' * (600 << 20)",
    }
    monkeypatch.setattr(optimize, "command", lambda tool, *_: [sys.executable, "-c", programs[tool]])
    arguments = Namespace(tools=["slow", "large"], rounds=2, seconds=1, memory=0.5)
    rows = optimize.compare(tmp_path / "m.onnx", arguments, Path(), tmp_path)
    assert [row.why for row in rows] == ["fails", "over 1 s", "over 0.5 GiB"]
    programs["slow"] = "raise AssertionError('must not run again')"
    assert [row.why for row in optimize.compare(tmp_path / "m.onnx", arguments, Path(), tmp_path, rows[1:2])][1:] == [
        "over 1 s",
        "over 0.5 GiB",
    ]


def test_the_light_models_are_there() -> None:
    assert len(optimize.LIGHT) == 9
    assert optimize.find_model("light_resnet50", Path(), 0) is not None


def test_the_synthetic_transformer_is_fused_layer_by_layer(tmp_path) -> None:
    synthetic.transformer(tmp_path / "m.onnx", 150)
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)
    model = load(tmp_path / "m.onnx")
    assert count_nodes(model) == 154
    Optimizer(Wanted()).apply(model, Runner(verify="off"))
    ops = [node.op_type for node in model.graph]
    assert (ops.count("LayerNormalization"), ops.count("Gelu"), ops.count("Softmax")) == (4, 2, 0)


def test_the_chain_loses_its_identities(tmp_path) -> None:
    synthetic.chain(tmp_path / "m.onnx", 40)
    model = load(tmp_path / "m.onnx")
    Optimizer(Wanted()).apply(model, Runner(verify="off"))
    assert count_nodes(model) == 30


@pytest.mark.slow
def test_weights_never_come_into_memory(tmp_path) -> None:
    path, output = tmp_path / "m.onnx", tmp_path / "out.onnx"
    synthetic.external(path, 512)
    _, peak, succeeded = optimize.run(optimize.command("npuopt", path, output, Path()), 120)
    assert succeeded
    assert peak < 160
    assert output.stat().st_size > 500 << 20
    assert optimize.count_ops(output) == {"Gemm": 16, "Relu": 16}
