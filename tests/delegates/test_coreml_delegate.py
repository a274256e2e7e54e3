"""The Apple road on any system: what a package holds, that every node and weight is in it, and what is refused."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from npuopt.delegates.contract import Limits
from npuopt.delegates.coreml.delegate import CoreMlDelegate
from npuopt.errors import InternalError, VendorToolError
from npuopt.target import load_target
from npuopt.toolchain.location import toolchains_folder
from support.toolchains import needs_toolchain

pytestmark = pytest.mark.toolchain

LIMITS = Limits(seconds=120, memory_mib=4096)
HEAD = '<ir_version: 10, opset_import: ["" : 24]>'


@pytest.fixture(scope="module", autouse=True)
def toolchain():
    needs_toolchain("coreml")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Compile ONNX text with constants for a target; return the region."""
    monkeypatch.setenv("NPUOPT_TOOLCHAINS", str(toolchains_folder()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def compile_it(text: str, target="apple/ane-ios18", states=(), **arrays):
        model = onnx.parser.parse_model(f"{HEAD} {text}")
        model.graph.initializer.extend(
            array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(array, name)
            for name, array in arrays.items()
        )
        for given, made in states:
            model.metadata_props.add(key=f"npuopt.state.{given}", value=made)
        path, folder = tmp_path / "model.onnx", tmp_path / "region"
        onnx.save(model, path)
        folder.mkdir()
        return CoreMlDelegate().compile(path, folder, load_target(target), limits=LIMITS)

    return compile_it


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_float_model_becomes_a_package_in_16_bits(package):
    text = """net (float[1,4,8,8] x) => (float[1,4,8,8] y)
        { [conv] c = Conv <pads = [1,1,1,1]> (x, w, b)  [act] a = Relu (c)  [add] y = Add (a, x) }"""
    region = package(text, w=drawn(4, 4, 3, 3), b=drawn(4))
    figures = region.figures
    assert figures["mil_operations"] == {"add": 1, "cast": 2, "conv": 1, "relu": 1}, "the casts are the ports'"
    assert figures["nodes_translated"] == 3
    assert figures["weight_elements"] == {"float16": 4 * 4 * 3 * 3}
    assert figures["float_weights_unchanged"] == "1 of 1"
    assert all((region.folder / name).is_file() for name in (*region.files, region.log))
    if sys.platform != "darwin":
        assert region.elsewhere.startswith("compiled for Core ML, which runs on Apple's systems")


@pytest.mark.parametrize(("kind", "dtype"), [("int8", np.int8), ("uint8", np.uint8)])
def test_8_bit_weights_are_read_back_as_they_were(package, kind, dtype):
    text = """net (float[2,64] x) => (float[2,32] y)
        { [held] w = DequantizeLinear <axis = 1> (q, scale, zero)  [product] y = MatMul (x, w) }"""
    info = np.iinfo(dtype)
    weight = np.random.default_rng(0).integers(info.min, info.max + 1, (64, 32)).astype(dtype)
    zero = np.full(32, 0 if kind == "int8" else 128, dtype)
    figures = package(text, q=weight, scale=np.abs(drawn(32)) / 100, zero=zero).figures
    assert figures["mil_operations"]["constexpr_blockwise_shift_scale"] == 1
    assert figures["weight_elements"][kind] >= 64 * 32
    assert figures["held_weights"] == 1


def test_4_bit_weights_in_blocks_take_4_bits(package):
    text = """net (float[2,64] x) => (float[2,32] y)
        { [held] w = DequantizeLinear <axis = 0, block_size = 32> (q, scale)  [product] y = MatMul (x, w) }"""
    values = np.random.default_rng(0).integers(-8, 8, (64, 32))
    weight = helper.make_tensor("q", onnx.TensorProto.INT4, (64, 32), values.reshape(-1))
    region = package(text, q=weight, scale=np.abs(drawn(2, 32)) / 10)
    assert region.figures["weight_elements"]["int4"] == 64 * 32
    assert region.figures["held_weights"] == 1


def test_palettes_hold_indices_of_4_bits(package):
    text = "net (float[2,64] x) => (float[2,64] y) { [product] y = MatMul (x, w) }"
    figures = package(text, target="apple/ane-ios18-palettes", w=drawn(64, 64)).figures
    assert figures["mil_operations"]["constexpr_lut_to_dense"] == 1
    assert figures["weight_elements"]["uint4"] == 64 * 64
    assert figures["weight_elements"].get("float16", 0) <= 16, "the table's values"


def test_an_input_that_comes_back_can_be_a_state(package):
    text = """net (float[1,2,4,8] x, float[1,2,4,8] cache) => (float[1,2,4,8] y, float[1,2,4,8] after)
        { [sum] after = Add (cache, x)  [act] y = Relu (after) }"""
    figures = package(text, states=[("cache", "after")]).figures
    assert figures["states"] == 1
    operations = figures["mil_operations"]
    assert operations["read_state"] >= 1
    assert operations["write_state"] == 1


def test_a_state_that_changes_its_shape_is_refused(package):
    text = "net (float[4] cache) => (float[8] after) { [twice] after = Concat <axis = 0> (cache, cache) }"
    with pytest.raises(InternalError, match="state 'cache' does not come back as 'after' in the same shape"):
        package(text, states=[("cache", "after")])


def test_ports_of_truth_values_are_integers(package):
    text = """net (bool[4] given, float[4] x) => (float[4] y, bool[4] large)
        <float zero = {0}> { [choose] y = Where (given, x, zero)  [compare] large = Greater (x, zero) }"""
    assert package(text).figures["mil_operations"]["cast"] >= 2


def test_attention_with_grouped_heads_is_one_operation(package):
    text = """net (float[1,4,8,16] q, float[1,2,8,16] k, float[1,2,8,16] v) => (float[1,4,8,16] y)
        { [attention] y = Attention <is_causal = 1> (q, k, v) }"""
    operations = package(text).figures["mil_operations"]
    assert operations["scaled_dot_product_attention"] == 1
    assert operations["tile"] == 2


def test_the_end_of_a_slice_that_runs_to_the_end_is_clipped(package):
    text = """net (float[1,8] x) => (float[1,5] y)
        <int64[1] start = {3}, int64[1] end = {9223372036854775807}, int64[1] axis = {1}>
        { [cut] y = Slice (x, start, end, axis) }"""
    assert package(text).figures["mil_operations"]["slice_by_index"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("net (float[4] x) => (float[4] y) { [odd] y = Acosh (x) }", "Acosh odd has no emitter"),
        (
            """net (float[1,4] x) => (float[1,2] y) <int64[1] a = {-1}, int64[1] b = {-5}, int64[1] s = {-2},
            int64[1] one = {1}> { [back] y = Slice (x, a, b, one, s) }""",
            "Slice back: a slice that walks a part backwards is not taken",
        ),
    ],
)
def test_what_has_no_translation_is_named(package, text, message):
    with pytest.raises(VendorToolError, match=message):
        package(text)


@pytest.mark.skipif(sys.platform == "darwin", reason="here it runs")
def test_off_a_mac_nothing_runs(package):
    region = package("net (float[4] x) => (float[4] y) { [act] y = Relu (x) }")
    with pytest.raises(VendorToolError, match="Core ML runs on macOS only"):
        CoreMlDelegate().run(region, [{"x": np.zeros(4, np.float32)}], load_target("apple/ane-ios18"), limits=LIMITS)


@pytest.mark.skipif(sys.platform != "darwin", reason="NOT TESTED: Core ML runs on macOS only")
def test_on_a_mac_the_numbers_are_those_of_the_model(package):
    region = dataclasses.replace(package("net (float[4] x) => (float[4] y) { [act] y = Gelu (x) }"), elsewhere="")
    x = np.linspace(-2, 2, 4, dtype=np.float32)
    (made,) = CoreMlDelegate().run(region, [{"x": x}], load_target("apple/ane-ios18"), limits=LIMITS)
    assert np.allclose(made["y"], [-0.0455, -0.1684, 0.4982, 1.9545], atol=5e-3)
