"""Models that come quantized: the bundled classifier as ONNX Runtime's quantizer writes it, in each of its forms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from npuopt import api
from npuopt.graph.execution import Session
from support.command import complaint, npuopt
from support.paths import ROOT

TARGET = "qualcomm/sm8750"
FOLDER = ROOT / "examples" / "fashion_mnist"
SIGNED = {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8, "per_channel": True}
FORMS = {
    "unsigned activations": {"weight_type": QuantType.QInt8, "per_channel": True},
    "signed activations": SIGNED,
    "operators on integers": {"weight_type": QuantType.QInt8, "quant_format": QuantFormat.QOperator},
    "16 bits, in operators of ONNX Runtime": {
        "activation_type": QuantType.QUInt16,
        "weight_type": QuantType.QInt8,
        "extra_options": {"UseQDQContribOps": True},
    },
}


class Images(CalibrationDataReader):
    """Eight images, one at a time."""

    def __init__(self) -> None:
        self.images = iter(np.load(FOLDER / "calibration.npz")["input"][:8])

    def get_next(self):
        image = next(self.images, None)
        return None if image is None else {"input": image[None]}


@pytest.fixture(scope="module")
def float_model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("float") / "model.onnx"
    quant_pre_process(str(FOLDER / "model.onnx"), str(path))
    return path


def quantized(float_model: Path, form: str, path: Path) -> Path:
    quantize_static(str(float_model), str(path), Images(), **FORMS[form])
    return path


def logits(path: Path) -> np.ndarray:
    session = Session(path, threads=1)
    images = np.load(FOLDER / "test.npz")["input"][:100]
    return np.concatenate([session.run({"input": image[None]})["logits"] for image in images])


def last_step(path: Path) -> float:
    model = onnx.load(path)
    names = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return next(float(names[node.input[1]]) for node in model.graph.node if node.output[0] == "logits")


@pytest.mark.parametrize("form", FORMS)
def test_its_own_encodings_are_kept_on_the_device(form, float_model, tmp_path):
    source = quantized(float_model, form, tmp_path / "source.onnx")
    options = api.CompileOptions(verify="off")
    done = api.quantize(source, TARGET, tmp_path / "made.onnx", options)
    assert not done["kept"]["in_float"]
    assert done["scheme"] == ("a16w8" if form.startswith("16") else "a8w8")
    difference = np.abs(logits(source) - logits(tmp_path / "made.onnx")).max()
    assert difference <= last_step(source) * 1.001
    summary = api.check(source, TARGET, options).summary
    assert summary.npu_fraction == 1.0


def test_a_model_that_was_not_fused_before_it_was_quantized(tmp_path):
    quantize_static(str(FOLDER / "model.onnx"), str(tmp_path / "source.onnx"), Images(), **SIGNED)
    done = api.quantize(tmp_path / "source.onnx", TARGET, tmp_path / "made.onnx", api.CompileOptions(verify="off"))
    assert not done["kept"]["in_float"]
    before, after = logits(tmp_path / "source.onnx"), logits(tmp_path / "made.onnx")
    # The results of convolutions were rounded ahead of their normalizations, which are one op now.
    assert np.mean(before.argmax(axis=1) == after.argmax(axis=1)) >= 0.96


def test_the_command_line(float_model, tmp_path):
    source = quantized(float_model, "unsigned activations", tmp_path / "source.onnx")
    out = tmp_path / "made.onnx"
    data = ("--calibration", FOLDER / "calibration.npz")
    sentence = complaint(npuopt("quantize", source, "-t", TARGET, "-o", out, *data), 2)
    assert "is quantized already" in sentence
    assert "--requantize" in sentence
    other = npuopt("quantize", source, "-t", TARGET, "-o", out, "--precision", "a16w8")
    assert "has its encodings, for which qualcomm/sm8750 has a8w8, not a16w8" in complaint(other, 2)
    assert "needs data" in complaint(npuopt("quantize", source, "-t", TARGET, "-o", out, "--requantize"), 2)
    plain = FOLDER / "model.onnx"
    assert "is not quantized" in complaint(npuopt("quantize", plain, "-t", TARGET, "-o", out, "--requantize", *data), 2)
    assert not out.exists()
    done = npuopt("quantize", source, "-t", TARGET, "-o", out)
    assert done.returncode == 0, done.stderr
    assert "Its own encodings are kept, 36 constants bit for bit" in done.stdout
    assert out.is_file()


def test_quantizing_anew_keeps_the_limits_that_stood_for_activations(float_model, tmp_path):
    source = quantized(float_model, "unsigned activations", tmp_path / "source.onnx")
    assert not any(node.op_type == "Clip" for node in onnx.load(source).graph.node)
    np.savez(tmp_path / "few.npz", input=np.load(FOLDER / "calibration.npz")["input"][:16])
    options = api.CompileOptions(
        calibration=tmp_path / "few.npz", precision="a8w8", requantize=True, verify="off", samples=1
    )
    api.quantize(source, TARGET, tmp_path / "made.onnx", options)
    before, after = logits(source), logits(tmp_path / "made.onnx")
    assert np.mean(before.argmax(axis=1) == after.argmax(axis=1)) >= 0.96


@pytest.mark.parametrize("kind", ["aimet", "aimet-0.6.1", "ort"])
def test_encodings_in_the_files_of_other_tools(kind, float_model, tmp_path):
    chosen, saved = tmp_path / "chosen.onnx", tmp_path / "encodings.json"
    np.savez(tmp_path / "few.npz", input=np.load(FOLDER / "calibration.npz")["input"][:16])
    data = ("--calibration", tmp_path / "few.npz", "--precision", "a8w8")
    save = ("--save-encodings", saved, "--encodings-format", kind)
    done = npuopt("quantize", float_model, "-t", TARGET, "-o", chosen, *data, *save)
    assert done.returncode == 0, done.stderr
    document = json.loads(saved.read_text(encoding="utf-8"))
    strange = [{"name": "gone", "bw": 8, "scale": [1], "offset": [0]}] if kind == "aimet" else {"gone": [{"scale": 1}]}
    if kind == "aimet":
        document["activation_encodings"] += strange
    elif kind == "ort":
        document.update(strange)
    saved.write_text(json.dumps(document), encoding="utf-8")
    read = npuopt("quantize", float_model, "-t", TARGET, "-o", tmp_path / "read.onnx", "--encodings", saved)
    assert read.returncode == 0, read.stderr
    assert "0 nodes with some around them are computed in float" in read.stdout
    assert ("1 tensors of the file are not in the model: gone" in read.stdout) == (kind != "aimet-0.6.1")
    before, after = logits(chosen), logits(tmp_path / "read.onnx")
    assert np.mean(before.argmax(axis=1) == after.argmax(axis=1)) >= 0.96
    again = npuopt("quantize", chosen, "-t", TARGET, "-o", tmp_path / "again.onnx", "--encodings", saved)
    assert "is quantized already" in complaint(again, 2)
    saved.write_text("{}", encoding="utf-8")
    nothing = npuopt("quantize", float_model, "-t", TARGET, "-o", tmp_path / "again.onnx", "--encodings", saved)
    assert "neither npuopt's encodings" in complaint(nothing, 3)
