"""The Espressif and Kendryte roads: what their tools get, and stand-ins for them that work and that do not."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from delegates.post_training_fake import write_fakes

from npuopt import api
from npuopt.delegates.contract import Limits
from npuopt.delegates.post_training.delegate import EspressifDelegate, KendryteDelegate
from npuopt.errors import InputError, InternalError, ToolchainMissingError, UsageError, VendorToolError
from npuopt.graph import Session
from npuopt.target import load_target

HEAD = '<ir_version: 12, opset_import: ["" : 24]>'
MODEL = """net (float[1,2,4,4] x) => (float[1,2,4,4] y) <int64[1] axes = {1}>
    { [act] a = Relu (x)  [mean] m = ReduceMean (a, axes)  [sum] y = Add (a, m) }"""
ROADS = {
    "espressif": (EspressifDelegate, "espressif/esp32-p4", "NPUOPT_ESP_PPQ", "model.espdl"),
    "kendryte": (KendryteDelegate, "kendryte/k230", "NPUOPT_NNCASE", "model.kmodel"),
}
TOLD = {
    "espressif": {"target": "esp32p4", "bits": 8, "shapes": [[1, 2, 4, 4]], "opset": 18, "first": 1.0},
    "kendryte": {"target": "k230", "types": ["uint8", "uint8"], "shapes": [[1, 2, 4, 4]], "opset": 17, "first": 1.0},
}
both = pytest.mark.parametrize("road", ROADS)


@pytest.fixture(autouse=True)
def no_tool(monkeypatch):
    for _, _, variable, _ in ROADS.values():
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(f"{variable}_DATA", raising=False)


@pytest.fixture
def make(tmp_path):
    """Compile ONNX text on a road; return the region."""

    def compile_it(road, text=MODEL, target=None, seconds=60.0):
        delegate, own_target, _, _ = ROADS[road]
        onnx.save(onnx.parser.parse_model(f"{HEAD} {text}"), tmp_path / "model.onnx")
        (tmp_path / "out").mkdir()
        limits = Limits(seconds=seconds, memory_mib=2048)
        chip = load_target(target or own_target)
        return delegate().compile(tmp_path / "model.onnx", tmp_path / "out", chip, limits=limits)

    return compile_it


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Name a stand-in and calibration data; samples are full of their number."""
    write_fakes(tmp_path / "fake")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_data(tmp_path / "data.npz", x=np.arange(3.0)[:, None, None, None, None] + np.zeros((1, 2, 4, 4)))
    for _, _, variable, _ in ROADS.values():
        monkeypatch.setenv(variable, sys.executable)
        monkeypatch.setenv(f"{variable}_DATA", str(tmp_path / "data.npz"))


def save_data(path, **arrays):
    np.savez(path, **arrays)


class TestUpToTheDoor:
    @both
    def test_the_float_model_its_request_and_the_next_command(self, road, make):
        region = make(road)
        assert region.files == ("model.onnx", "compile_model.py", "request.json")
        model = onnx.load(region.folder / "model.onnx")
        onnx.checker.check_model(model)
        assert model.opset_import[0].version == TOLD[road]["opset"] == region.figures["opset"]
        [mean] = [node for node in model.graph.node if node.op_type == "ReduceMean"]
        assert "keepdims" in {attribute.name for attribute in mean.attribute}, "esp-ppq knows no default of it"
        request = json.loads((region.folder / "request.json").read_text())
        assert request["inputs"] == [["x", [1, 2, 4, 4]]]
        assert "python compile_model.py request.json answer.json" in region.figures["compiled"]

    @both
    def test_its_command_as_it_stands_makes_the_binary(self, road, make, tool, monkeypatch, tmp_path):
        monkeypatch.delenv(ROADS[road][2])
        region = make(road)
        (tmp_path / "data.npz").rename(region.folder / "calibration.npz")
        _, _, command = region.figures["compiled"].rpartition("run: ")
        words = command.partition(";")[0].split()
        subprocess.run([sys.executable, *words[1:]], cwd=region.folder, check=True, timeout=60)
        assert json.loads((region.folder / ROADS[road][3]).read_text()) == TOLD[road]

    @both
    def test_numbers_are_those_of_the_float_model(self, road, make):
        region = make(road)
        sample = {"x": np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)}
        target = load_target(ROADS[road][1])
        [made] = ROADS[road][0]().run(region, [sample], target, limits=Limits())
        wanted = Session(region.folder.parent / "model.onnx").run(sample)
        np.testing.assert_allclose(made["y"], wanted["y"], rtol=1e-6)

    def test_inputs_that_are_no_floats_are_named(self, make):
        with pytest.raises(InputError, match=r"'i'.*is not float32"):
            make("kendryte", "net (int64[4] i, float[8] x) => (float[4] y) { y = Gather (x, i) }")

    def test_another_roads_target_is_refused(self, make):
        with pytest.raises(InternalError, match="kendryte/k230 is compiled by kendryte, not by espressif"):
            make("espressif", target="kendryte/k230")

    @both
    def test_the_whole_road_says_what_is_left_to_do(self, road, tmp_path):
        onnx.save(onnx.parser.parse_model(f"{HEAD} {MODEL}"), tmp_path / "model.onnx")
        manifest = api.compile(tmp_path / "model.onnx", ROADS[road][1], tmp_path / "out")
        assert manifest.placement.npu_fraction == 1.0
        assert manifest.steps[0].figures["compiled"].endswith(f"it makes {ROADS[road][3]}")


class TestWithATool:
    @both
    def test_it_gets_the_model_the_data_and_the_settings(self, road, make, tool):
        region = make(road)
        assert region.files[0] == ROADS[road][3]
        assert json.loads((region.folder / region.files[0]).read_text()) == TOLD[road]
        if road == "espressif":
            assert json.loads((region.folder / "encodings.json").read_text()) == [["act", "x", [1.0], [0.0]]]
        assert region.figures["calibration_samples"] == 3
        assert region.figures["binary_bytes"] > 0
        package, version = {"espressif": ("esp-ppq", "1.3.12"), "kendryte": ("nncase", "2.11.0")}[road]
        assert region.tools[package] == version
        onnx.checker.check_model(onnx.load(region.folder / "model.onnx"))  # not what esp-ppq made of its copy

    @both
    @pytest.mark.parametrize(
        ("how", "says"),
        [
            ("crash", "crashed"),
            ("raise", r"refused it: NotImplementedError: operator Asinh is not there x{50,400}$"),
            ("empty", "refused it: it wrote an empty file"),
        ],
    )
    def test_a_tool_that_fails_is_one_sentence(self, road, how, says, make, tool, monkeypatch):
        monkeypatch.setenv("FAKE_TOOL", how)
        with pytest.raises(VendorToolError) as caught:
            make(road)
        assert caught.value.exit_code == 7
        assert re.search(says, caught.value.what)

    @both
    def test_a_tool_that_hangs_is_stopped(self, road, make, tool, monkeypatch):
        monkeypatch.setenv("FAKE_TOOL", "hang")
        with pytest.raises(VendorToolError, match="did not end in time"):
            make(road, seconds=3.0)

    def test_a_flood_of_output_is_bounded(self, make, tool, monkeypatch):
        monkeypatch.setenv("FAKE_TOOL", "flood")
        region = make("kendryte")
        assert (region.folder / region.log).stat().st_size < 20_000_000

    @pytest.mark.parametrize(
        ("arrays", "says"),
        [
            ({"z": np.zeros((4, 1, 2, 4, 4))}, r"has no array 'x', but \['z'\]"),
            ({"x": np.zeros((4, 1, 2, 4, 5))}, r"'x' have shape \[1, 2, 4, 5\], not \[1, 2, 4, 4\]"),
            ({"x": np.zeros((1, 1, 2, 4, 4))}, "1 calibration samples are too few: it takes 2"),
            ({"x": np.array([object()])}, "cannot be read as an npz"),
        ],
    )
    def test_data_that_does_not_fit_is_refused(self, arrays, says, make, tool, tmp_path):
        save_data(tmp_path / "data.npz", **arrays)
        with pytest.raises(VendorToolError, match=says):
            make("espressif")

    def test_samples_may_lack_the_batch_of_one(self, make, tool, tmp_path):
        save_data(tmp_path / "data.npz", x=np.arange(3.0)[:, None, None, None] + np.zeros((2, 4, 4)))
        region = make("espressif")
        assert json.loads((region.folder / "model.espdl").read_text()) == TOLD["espressif"]


class TestTheSimulator:
    SAMPLES = tuple({"x": np.full((1, 2, 4, 4), number, np.float32)} for number in (1.0, -2.0))

    def run(self, road, region, samples=SAMPLES):
        return ROADS[road][0]().run(region, samples, load_target(ROADS[road][1]), limits=Limits(seconds=60))

    @both
    def test_what_was_compiled_runs_in_it(self, road, make, tool):
        region = make(road)
        assert region.figures["numbers"] == {"espressif": "esp-ppq's executor", "kendryte": "nncase's simulator"}[road]
        made = self.run(road, region)
        assert [one["y"].flat[0] for one in made] == [3.0, -6.0]

    def test_other_calibration_data_would_be_another_graph(self, make, tool, tmp_path):
        region = make("espressif")
        save_data(tmp_path / "data.npz", x=np.full((3, 1, 2, 4, 4), 7.0))
        with pytest.raises(VendorToolError, match="quantizes otherwise than what was compiled"):
            self.run("espressif", region)

    @both
    def test_without_the_tool_there_are_no_numbers_of_what_it_made(self, road, make, tool, monkeypatch):
        region = make(road)
        monkeypatch.delenv(ROADS[road][2])
        with pytest.raises(ToolchainMissingError, match=r"compiled this region, and NPUOPT_\w+ does not name it"):
            self.run(road, region)

    def test_a_sample_that_does_not_fit(self, make, tool):
        with pytest.raises(InputError, match="is missing from the sample"):
            self.run("kendryte", make("kendryte"), [{}])

    def test_the_whole_road_compares_it_with_the_float_model(self, tool, tmp_path):
        onnx.save(onnx.parser.parse_model(f"{HEAD} {MODEL}"), tmp_path / "model.onnx")
        manifest = api.compile(tmp_path / "model.onnx", "espressif/esp32-p4", tmp_path / "made")
        [compiled] = [stage for stage in manifest.verification if stage.name == "compiled"]
        assert compiled.outputs["y"].sqnr_db is not None
        assert compiled.outputs["y"].sqnr_db < 10, "the stand-in computes something else"


class TestWhatIsNamedButMissing:
    @both
    def test_a_python_that_is_not_there(self, road, make, monkeypatch):
        monkeypatch.setenv(ROADS[road][2], "no/such/python")
        with pytest.raises(ToolchainMissingError, match="names no/such/python, which cannot be run") as caught:
            make(road)
        assert caught.value.exit_code == 6

    @both
    def test_a_python_without_the_tool(self, road, make, tool, monkeypatch, tmp_path):
        hidden = tmp_path / "none"
        hidden.mkdir()
        for name in ("torch", "nncase"):
            (hidden / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}')")
        monkeypatch.setenv("PYTHONPATH", str(hidden))
        with pytest.raises(ToolchainMissingError, match=r"does not have .*No module named"):
            make(road)

    def test_data(self, make, monkeypatch, tmp_path):
        monkeypatch.setenv("NPUOPT_NNCASE", sys.executable)
        with pytest.raises(UsageError, match="NPUOPT_NNCASE_DATA names none"):
            EspressifDelegate().ensure_available()
            make("kendryte")
        monkeypatch.setenv("NPUOPT_NNCASE_DATA", str(tmp_path / "none.npz"))
        with pytest.raises(InputError, match="is no file"):
            KendryteDelegate().ensure_available()
