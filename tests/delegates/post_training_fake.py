"""Stand-ins for the packages `esp_ppq` and `torch`, and `nncase`, that check what they are given and quantize nothing.

`FAKE_TOOL` says what they do: `crash`, `hang`, `raise`, `empty`, `flood`; nothing: they write what they were given.
Their simulators return three times what they are given.
"""

from __future__ import annotations

from pathlib import Path

BEHAVE = """
import json, os, sys, time


def behave():
    how = os.environ.get("FAKE_TOOL", "")
    if how == "crash":
        os.abort()
    if how == "hang":
        time.sleep(60)
    if how == "raise":
        raise NotImplementedError("operator Asinh\\nis not there " + "x" * 9000)
    if how == "flood":
        for _ in range(300):
            print("\\x1b[31m" + "9" * 100_000)
    return how == "empty"
"""
ESP_PPQ = """
import json
from types import SimpleNamespace
import onnx
from behave import behave


def espdl_quantize_onnx(*, onnx_import_file, espdl_export_file, calib_dataloader, calib_steps, input_shape, inputs,
                        target, num_of_bits, device, error_report):
    empty = behave()
    model = onnx.load(onnx_import_file)
    open(onnx_import_file, "wb").write(b"simplified")
    assert calib_steps == len(calib_dataloader) and device == "cpu"
    assert [list(one.shape) for one in inputs] == input_shape
    told = {"target": target, "bits": num_of_bits, "shapes": input_shape, "opset": model.opset_import[0].version,
            "first": float(calib_dataloader[1][0].flat[0])}
    open(espdl_export_file, "w").write("" if empty else json.dumps(told))
    config = SimpleNamespace(scale=told["first"], offset=[0])
    pairs = [(config, SimpleNamespace(name="x")), (SimpleNamespace(scale=None, offset=None), SimpleNamespace(name="s"))]
    relu = SimpleNamespace(name="act", config_with_variable=pairs)
    return SimpleNamespace(told=told, operations={"act": relu, "free": SimpleNamespace(name="free")})
"""
EXECUTOR = """
class TorchExecutor:
    def __init__(self, graph, device):
        assert graph.told["target"] == "esp32p4" and device == "cpu"

    def __call__(self, inputs, output_names):
        assert output_names == ["y"]
        return [3 * inputs[0]]
"""
NNCASE = """
import json
from types import SimpleNamespace
import onnx
from behave import behave

CompileOptions = ImportOptions = SimpleNamespace


class PTQTensorOptions(SimpleNamespace):
    def set_tensor_data(self, data):
        assert all(len(column) == self.samples_count for column in data)
        self.shapes, self.first = [list(column[0].shape) for column in data], float(data[0][1].flat[0])


class Compiler:
    def __init__(self, options):
        self.told = {"target": options.target}

    def import_onnx(self, content, options):
        self.told["opset"] = onnx.ModelProto.FromString(content).opset_import[0].version

    def use_ptq(self, options):
        self.told |= {"types": [options.quant_type, options.w_quant_type], "shapes": options.shapes,
                      "first": options.first}

    def compile(self):
        self.empty = behave()

    def gencode_tobytes(self):
        return b"" if self.empty else json.dumps(self.told).encode()


class RuntimeTensor:
    def __init__(self, array):
        self.array = array

    @staticmethod
    def from_numpy(array):
        return RuntimeTensor(array)

    def to_numpy(self):
        return self.array


class Simulator:
    def load_model(self, content):
        assert json.loads(content)["target"] == "k230"

    def set_input_tensor(self, place, tensor):
        assert place == 0
        self.given = tensor

    def run(self):
        self.made = 3 * self.given.to_numpy()

    def get_output_tensor(self, place):
        return RuntimeTensor(self.made)
"""
TORCH = """
def from_numpy(array):
    return array


def set_num_threads(count):
    assert count == 1
"""


def write_fakes(folder: Path) -> None:
    """Write the packages below `folder`, which then belongs on PYTHONPATH."""
    (folder / "esp_ppq").mkdir(parents=True)
    (folder / "esp_ppq" / "__init__.py").touch()
    (folder / "esp_ppq" / "api.py").write_text(ESP_PPQ)
    (folder / "esp_ppq" / "executor.py").write_text(EXECUTOR)
    (folder / "torch.py").write_text(TORCH)
    (folder / "nncase.py").write_text(NNCASE)
    (folder / "behave.py").write_text(BEHAVE)
    for name, version in (("esp_ppq", "1.3.12"), ("nncase", "2.11.0")):
        record = folder / f"{name}-{version}.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
