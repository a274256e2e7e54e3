"""The road itself: what a compiled region holds, how it runs, and what it says when something is wrong."""

from __future__ import annotations

import pytest

pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")

import numpy as np
from delegates.litert.litert_cases import LIMITS, Graph, held, weight

from npuopt.delegates.litert.delegate import LiteRtDelegate
from npuopt.delegates.litert.flat import LARGEST_FILE, FlatModel, stored_bytes
from npuopt.delegates.litert.ports import load_ports
from npuopt.errors import InputError, VendorToolError
from npuopt.graph.execution import Session
from npuopt.target import load_target
from npuopt.target.probe import probe

pytestmark = pytest.mark.litert

TARGET = load_target("android/litert")
TEXT, CONSTANTS = held("w", weight(6, 4, 3, 3), axis=0)
NET = Graph(TEXT + "y = Conv <pads = [1, 1, 1, 1]> (x, w)", {"x": "1,4,8,8"}, "1,6,8,8", CONSTANTS)


@pytest.fixture
def region(tmp_path):
    folder = tmp_path / "region"
    folder.mkdir()
    return LiteRtDelegate().compile(NET.quantized(tmp_path / "net.onnx"), folder, TARGET, limits=LIMITS)


def test_a_region_is_written_run_and_described(region, tmp_path):
    assert region.files == ("model.tflite", "model.json")
    assert region.figures["operators"] == {"CONV_2D": 1}
    assert region.figures["model_bytes"] == (region.folder / "model.tflite").stat().st_size
    assert region.tools["ai-edge-litert"].startswith("2.")
    assert all(node.on_npu for node in region.nodes)
    sample = NET.sample()
    made = LiteRtDelegate().run(region, [sample, sample], TARGET, limits=LIMITS)
    wanted = Session(tmp_path / "net.onnx").run(sample)["y"]
    assert len(made) == 2
    assert np.abs(made[0]["y"] - wanted).max() <= 0.031


def test_both_sets_of_kernels_run_and_are_compared(region):
    sets = region.figures["kernel_sets"]
    assert list(sets) == ["xnnpack", "builtin"]
    assert sets["xnnpack"]["delegated"]
    assert not sets["builtin"]["delegated"]
    assert region.figures["kernel_sets_cosine"] > 0.999


def test_the_target_says_which_kernels_count(tmp_path):
    folder = tmp_path / "builtin"
    folder.mkdir()
    builtin = load_target("android/litert-builtin")
    compiled = LiteRtDelegate().compile(NET.quantized(tmp_path / "net.onnx"), folder, builtin, limits=LIMITS)
    assert compiled.figures["kernels"] == "builtin"
    assert list(compiled.figures["kernel_sets"]) == ["builtin", "xnnpack"]


def test_a_sample_that_does_not_fit_is_named(region):
    with pytest.raises(InputError, match=r"input 'x': is missing"):
        LiteRtDelegate().run(region, [{}], TARGET, limits=LIMITS)
    with pytest.raises(InputError, match=r"input 'x': has shape \[1, 8, 8, 4\], not \[1, 4, 8, 8\]"):
        LiteRtDelegate().run(region, [{"x": np.zeros((1, 8, 8, 4), np.float32)}], TARGET, limits=LIMITS)


def test_damaged_notes_about_the_edge_are_refused(region):
    (region.folder / "model.json").write_text('{"inputs": [{"shape": [1], "order": [3]}]}')
    with pytest.raises(InputError, match="cannot be read"):
        load_ports(region.folder / "model.json")


def test_a_damaged_model_is_a_refusal_and_no_crash_of_ours(region):
    data = (region.folder / "model.tflite").read_bytes()
    (region.folder / "model.tflite").write_bytes(data[: len(data) // 2])
    with pytest.raises(VendorToolError, match="the LiteRT interpreter"):
        LiteRtDelegate().run(region, [NET.sample()], TARGET, limits=LIMITS)


def test_an_op_without_a_form_is_named(tmp_path):
    model = Graph("y = Erf(x)", {"x": "2,3"}, "2,3").in_float(tmp_path / "m.onnx")
    with pytest.raises(VendorToolError, match="Erf has no TFLite form"):
        LiteRtDelegate().compile(model, tmp_path, TARGET, limits=LIMITS)


def test_the_same_model_gives_the_same_bytes(region, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    LiteRtDelegate().compile(tmp_path / "net.onnx", again, TARGET, limits=LIMITS)
    assert (again / "model.tflite").read_bytes() == (region.folder / "model.tflite").read_bytes()


def test_weights_beyond_what_a_flatbuffer_holds_are_refused_before_they_are_written(tmp_path):
    model = FlatModel()
    zeros = np.lib.stride_tricks.as_strided(np.zeros(1, np.int8), (LARGEST_FILE,), (0,))
    model.add("w", (LARGEST_FILE,), "int8", data=lambda: zeros)
    with pytest.raises(InputError, match="2 GiB"):
        model.write(tmp_path / "m.tflite")


def test_4_bit_numbers_lie_two_in_a_byte() -> None:
    import ml_dtypes  # noqa: PLC0415 -- what ONNX tools hold 4-bit numbers in

    assert bytes(stored_bytes(np.array([1, -1, 7], ml_dtypes.int4))) == bytes([0xF1, 0x07])


@pytest.mark.parametrize("op", ["AveragePool", "Softmax", "Elu"])
def test_the_descriptor_says_what_the_interpreter_does(op):
    result = probe(TARGET, lambda questions: LiteRtDelegate().probe(questions, TARGET, limits=LIMITS), [op])
    assert result.counts["agreed"] > 20
    assert not result.disagreements
