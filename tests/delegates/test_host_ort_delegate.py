"""The ONNX Runtime road keeps the model whole and computes quantized products exactly."""

import numpy as np
import onnx
import onnx.parser
import pytest
from delegates.host_cases import model_of, processor, read

from npuopt.delegates.contract import Limits
from npuopt.delegates.host.ort_delegate import OrtDelegate
from npuopt.delegates.registry import find_delegate
from npuopt.errors import InputError
from npuopt.graph.saving import save_sharing

LIMITS = Limits()


def compiled(model, tmp_path):
    path, folder = tmp_path / "net.onnx", tmp_path / "region"
    onnx.save(model, path)
    folder.mkdir()
    return OrtDelegate().compile(path, folder, processor(), limits=LIMITS)


def test_the_region_runs_where_it_lies(tmp_path):
    region = compiled(model_of("y = Relu (x)", "float[2] x", "float[2] y"), tmp_path)
    assert (region.folder, region.files) == (tmp_path, ("net.onnx",))
    assert not list((tmp_path / "region").iterdir())
    assert region.figures["model_bytes"] == (tmp_path / "net.onnx").stat().st_size
    assert set(region.tools) == {"onnxruntime"}
    samples = [{"x": np.array([-1, value], np.float32)} for value in (2, 3)]
    made = OrtDelegate().run(region, samples, processor(), limits=LIMITS)
    assert [outputs["y"].tolist() for outputs in made] == [[0, 2], [0, 3]]


def test_weights_beside_the_model_are_files_of_the_region(tmp_path):
    """Of a file that other models have weights in too, only the region's own count."""
    models = {}
    for seed, name in enumerate(("one", "other")):
        weight = np.random.default_rng(seed).normal(size=(64, 64)).astype(np.float32)
        models[name] = read(model_of("y = MatMul (x, w)", "float[1,64] x", "float[1,64] y", w=weight))
    save_sharing(models, tmp_path)
    region = OrtDelegate().compile(tmp_path / "one.onnx", tmp_path, processor(), limits=LIMITS)
    assert region.files == ("one.onnx", "weights.data")
    assert region.figures["model_bytes"] == (tmp_path / "one.onnx").stat().st_size + 64 * 64 * 4
    (made,) = OrtDelegate().run(region, [{"x": np.ones((1, 64), np.float32)}], processor(), limits=LIMITS)
    assert made["y"].shape == (1, 64)


def test_quantized_products_do_not_saturate(tmp_path):
    """The default kernels without VNNI add 255 * 127 pairs in 16 bits."""
    text = """
        <ir_version: 10, opset_import: ["" : 24]>
        g (uint8[1,64] x) => (float[1,1] y) <float one = {1.0}, uint8 zero = {0}, int8 none = {0}> {
            a = DequantizeLinear (x, one, zero)
            b = DequantizeLinear (w, one, none)
            y = MatMul (a, b)
        }
    """
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full((64, 1), 127, np.int8), "w"))
    region = compiled(model, tmp_path)
    (made,) = OrtDelegate().run(region, [{"x": np.full((1, 64), 255, np.uint8)}], processor(), limits=LIMITS)
    assert made["y"].item() == 64 * 255 * 127


def test_a_model_that_does_not_load_is_an_input_error(tmp_path):
    text = """
        <ir_version: 10, opset_import: ["" : 24, "nobody" : 1]>
        g (float[2] x) => (float[2] y) { y = nobody.Op (x) }
    """
    with pytest.raises(InputError, match="ONNX Runtime does not load it"):
        compiled(onnx.parser.parse_model(text), tmp_path)


def test_the_road_is_found_by_its_name():
    assert isinstance(find_delegate("ort"), OrtDelegate)
