"""The part of the Intel road that needs the NPU compiler, against a stand-in for it: what is proven of a blob."""

from __future__ import annotations

import json
import sys

import onnx
import pytest
from delegates.openvino_fake import LIBRARIES, write_fake

from npuopt.delegates.contract import Limits
from npuopt.delegates.openvino import delegate as road
from npuopt.delegates.openvino.blob import read_platform
from npuopt.delegates.openvino.importer import refusal
from npuopt.errors import InternalError, VendorToolError
from npuopt.target import load_target

LIMITS = Limits(seconds=60, memory_mib=2048)


@pytest.fixture
def compile_with(tmp_path, monkeypatch):
    """Compile a Relu with a stand-in whose compiler does what is said."""

    def compile_it(libraries=LIBRARIES, target="intel/npu4000", **says):
        write_fake(tmp_path / "fake", libraries)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
        monkeypatch.setenv("FAKE_NPU", json.dumps({"platform": "4000", **says}))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(road, "interpreter", lambda: sys.executable)
        model = tmp_path / "model.onnx"
        onnx.save(onnx.parser.parse_model(RELU), model)
        (tmp_path / "out").mkdir()
        return road.OpenVinoDelegate().compile(model, tmp_path / "out", load_target(target), limits=LIMITS)

    return compile_it


RELU = '<ir_version: 10, opset_import: ["" : 24]> g (float[1,4] x) => (float[1,4] y) { [act] y = Relu (x) }'


def test_a_blob_is_made_where_the_compiler_is(compile_with):
    region = compile_with()
    assert region.files[:3] == ("model.xml", "model.bin", "model.blob")
    assert region.figures["blob_bytes"] == (region.folder / "model.blob").stat().st_size
    assert region.tools == {"openvino": "2026.4.1-fake", "npu-compiler": "458754"}
    assert [(node.name, node.on_npu) for node in region.nodes] == [("act", True)]


def test_an_operation_that_the_compiler_does_not_take_is_off_the_device(compile_with):
    (node,) = compile_with(taken=[]).nodes
    assert (node.on_npu, node.reason) == (False, "the NPU compiler does not take it")


def test_without_the_compiler_the_region_says_what_is_missing(compile_with):
    region = compile_with(libraries=())
    assert "model.blob" not in region.files
    assert region.figures["blob"].startswith("not made: OpenVINO's Linux package lacks the NPU compiler")


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ({"platform": "3720"}, "the blob was built for NPU 3720, not 4000"),
        ({"platform": ""}, "the blob's footer names no platform"),
        ({"devices": ["CPU"]}, r"it was compiled for \['CPU'\], not for the NPU alone"),
        ({"devices": []}, "it was compiled for no device, not for the NPU alone"),
        ({"refuses": "VCL compiler loading failed"}, "the NPU compiler refused it: VCL compiler loading failed; the"),
        ({"libraries": LIBRARIES[:1]}, "the NPU compiler is incomplete: openvino_intel_npu_compiler_loader is missing"),
    ],
)
def test_a_blob_that_proves_nothing_is_refused(compile_with, says, message):
    with pytest.raises(VendorToolError, match=message):
        compile_with(**says)


def test_another_roads_target_is_refused(compile_with):
    with pytest.raises(InternalError, match="host/onnxruntime is compiled by ort, not by openvino"):
        compile_with(target="host/onnxruntime")


def test_a_footer_that_names_two_platforms_is_refused(tmp_path):
    blob = tmp_path / "two.blob"
    blob.write_bytes(b"npu=3720;npu=4000")
    with pytest.raises(VendorToolError, match="the blob's footer names 3720 and 4000"):
        read_platform(blob)


def test_the_platform_is_read_from_the_end_only(tmp_path):
    blob = tmp_path / "long.blob"
    blob.write_bytes(b"npu=3720" + bytes(1 << 17) + b"npu=5010")
    assert read_platform(blob) == "5010"


def test_operations_without_a_parser_are_named():
    assert refusal("Convolution") == refusal("Slice") == ""
    assert refusal("SoftSign") == "the NPU compiler's importer has no parser for SoftSign"
