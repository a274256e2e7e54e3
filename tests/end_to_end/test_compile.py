"""The whole road on the bundled models, through the vendor's compiler and simulator."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from npuopt import api
from npuopt.bundle import read_manifest
from npuopt.errors import InputError
from npuopt.road.options import CompileOptions
from npuopt.runtime import Artifact

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
FASHION, LLAMA = EXAMPLES / "fashion_mnist", EXAMPLES / "tiny_llama"
pytestmark = [pytest.mark.qnn, pytest.mark.xdist_group("end_to_end")]


@pytest.fixture(scope="module")
def fashion(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("fashion") / "out"
    options = CompileOptions(dims={"batch": 1}, precision="a8w8", calibration=FASHION / "calibration.npz", dump=True)
    api.compile(FASHION / "model.onnx", "qualcomm/sm8750", out, options)
    return out


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("llama") / "out"
    options = CompileOptions(
        dims={"batch": 1, "seq": 1, "past": 127}, precision="a16w8", calibration=LLAMA / "calibration.npz"
    )
    api.compile(LLAMA / "model.onnx", "qualcomm/sm8750", out, options)
    return out


def test_everything_is_on_the_npu(fashion: Path, llama: Path) -> None:
    for folder in (fashion, llama):
        placement = read_manifest(folder).placement
        assert (placement.host, placement.npu_fraction, placement.npu_mac_fraction) == (0, 1.0, 1.0)


def test_one_region_compiled_by_the_chips_own_compiler(llama: Path) -> None:
    steps = read_manifest(llama).steps
    assert [step.kind for step in steps] == ["npu"]
    context = onnx.load(llama / steps[0].files[0], load_external_data=False)
    assert "EPContext" in {node.op_type for node in context.graph.node}


def test_simulator_agrees_with_the_quantized_model(fashion: Path, llama: Path) -> None:
    for folder in (fashion, llama):
        compiled = next(stage for stage in read_manifest(folder).verification if stage.name == "compiled")
        assert all(item.cosine is None or item.cosine >= 0.999 for item in compiled.outputs.values())


def test_optimized_model_equals_the_source(llama: Path) -> None:
    optimized = next(stage for stage in read_manifest(llama).verification if stage.name == "optimized")
    assert all(item.cosine is None or item.cosine > 0.9999999 for item in optimized.outputs.values())


def test_model_is_valid_and_static(llama: Path) -> None:
    model = onnx.load(llama / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert all(dim.HasField("dim_value") for value in model.graph.input for dim in value.type.tensor_type.shape.dim)


def test_prefill_folds_the_empty_cache_away(tmp_path) -> None:
    options = CompileOptions(
        dims={"batch": 1, "seq": 128, "past": 0},
        precision="a16w8",
        calibration=LLAMA / "calibration_prefill.npz",
        verify="off",
    )
    manifest = api.compile(LLAMA / "model.onnx", "qualcomm/sm8750", tmp_path / "out", options)
    assert len(manifest.dropped_inputs) == 12
    assert manifest.placement.npu_fraction == 1.0


@pytest.mark.parametrize("precision", ["fp16", "a16w8"])
def test_nodes_without_names_and_the_sum_of_a_whole_tensor(tmp_path, precision) -> None:
    """As some exporters leave nodes."""
    proto = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 24]> g (float[1, 48] x) => (float[1, 1] y) <int64[1] last = {1}> {
            squares = Mul(x, x)
            sum = ReduceSum(squares, last)
            y = Sqrt(sum)
        }"""
    )
    onnx.save(proto, tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(16, 1, 48)).astype(np.float32))
    data = tmp_path / "data.npz" if precision == "a16w8" else None
    options = CompileOptions(precision=precision, calibration=data)
    manifest = api.compile(tmp_path / "model.onnx", "qualcomm/sm8750", tmp_path / "out", options)
    assert manifest.placement.npu_fraction == 1.0
    compiled = next(stage for stage in manifest.verification if stage.name == "compiled")
    ratio = compiled.outputs["y"].sqnr_db
    assert ratio is None or ratio > 50  # None: the same numbers


def test_a_long_sum_of_16_bit_numbers_does_not_overflow(tmp_path) -> None:
    """The chip's own mean of 224 x 224 numbers is off by more than itself."""
    proto = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 24]> g (float[1, 4, 224, 224] x) => (float[1, 4, 1, 1] y)
        <int64[2] axes = {2, 3}> {
            narrow = Tanh(x)
            y = ReduceMean(narrow, axes)
        }"""
    )
    onnx.save(proto, tmp_path / "model.onnx")
    random = np.random.default_rng(0)
    values = random.uniform(1, 3, size=(2, 4, 224, 224)) * np.array([1, -1]).reshape(2, 1, 1, 1)
    np.savez(tmp_path / "data.npz", x=values.astype(np.float32))
    options = CompileOptions(precision="a16w8", calibration=tmp_path / "data.npz")
    manifest = api.compile(tmp_path / "model.onnx", "qualcomm/sm8750", tmp_path / "out", options)
    assert manifest.placement.npu_fraction == 1.0
    compiled = next(stage for stage in manifest.verification if stage.name == "compiled")
    ratio = compiled.outputs["y"].sqnr_db
    assert ratio is None or ratio > 60  # None: the same numbers


def test_dumps_show_every_pass_that_changed_something(fashion: Path) -> None:
    names = {path.name.split("-", 1)[1] for path in (fashion / "dumps").glob("*.txt")}
    assert {"source.txt", "freeze-dims.txt", "fuse-batch-normalization.txt", "insert-quantize-dequantize.txt"} <= names


def test_run_uses_the_simulator_and_agrees_with_the_cpu(fashion: Path, tmp_path) -> None:
    image = np.load(FASHION / "test.npz")["input"][:1][:, None]
    np.savez(tmp_path / "in.npz", input=image)
    results = {}
    for engine in ("device", "cpu"):
        api.run(fashion, tmp_path / "in.npz", output=tmp_path / f"{engine}.npz", engine=engine)
        results[engine] = np.load(tmp_path / f"{engine}.npz")["logits"]
    assert results["device"].shape == (1, 1, 10)
    assert np.argmax(results["device"]) == np.argmax(results["cpu"])


def test_given_encodings_make_the_same_model(fashion: Path, tmp_path) -> None:
    for calibration in (FASHION / "calibration.npz", None):
        options = CompileOptions(
            dims={"batch": 1}, precision="a8w8", encodings=fashion / "encodings.json", calibration=calibration
        )
        result = api.quantize(FASHION / "model.onnx", "qualcomm/sm8750", tmp_path / "again.onnx", options)
        same = (tmp_path / "again.onnx").read_bytes() == (fashion / "model.onnx").read_bytes()
        assert same == (calibration is not None), "without the data, weights are rounded to the nearest"
        assert result["nodes"] == len(onnx.load(fashion / "model.onnx").graph.node)


def test_a_changed_file_is_noticed(fashion: Path, tmp_path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(fashion), str(copy)], check=True)
    with (copy / "model.onnx").open("r+b") as file:
        file.write(b"\0")
    with pytest.raises(InputError, match="is not the file that the manifest describes"):
        Artifact.open(copy)


def test_interrupt_leaves_nothing_behind(tmp_path) -> None:
    command = [sys.executable, "-m", "npuopt", "compile", str(LLAMA / "model.onnx"), "-t", "qualcomm/sm8750"]
    command += [
        "--dim",
        "batch=1",
        "--dim",
        "seq=1",
        "--dim",
        "past=127",
        "--calibration",
        str(LLAMA / "calibration.npz"),
    ]
    child = subprocess.Popen([*command, "-o", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "interrupted" in stderr
    assert not list(tmp_path.iterdir())


def test_json_is_the_manifest(fashion: Path) -> None:
    document = json.loads((fashion / "manifest.json").read_text())
    assert document["format"] == "npuopt-artifact/1"
    assert document["tools"]["onnxruntime-qnn"]
