"""The table of errors by tensor."""

import numpy as np
import pytest

from npuopt.passes.quantize.insert_quantize_dequantize import InsertQuantizeDequantize
from npuopt.quantization import Encoding, Encodings, open_samples, tensor_errors
from npuopt.quantization.arithmetic import dequantize, quantize
from support.rewrites import model_from

TEXT = """(float[1000] x) => (float[1000] y, float[10,100] z) <int64[2] shape = {10, 100}>
{h = Neg(x) y = Relu(h) z = Reshape(h, shape)}"""


def test_errors_and_saturation_by_tensor(tmp_path):
    encodings = Encodings(
        tensors={
            "h": Encoding(dtype="uint8", scale=float(np.float32(0.01)), zero_point=128),
            "y": Encoding(dtype="uint8", scale=0.5, zero_point=0),
        },
        uses={"z": {0: Encoding(dtype="uint8", scale=1.0, zero_point=128)}},
    )
    model, quantized = model_from(TEXT), model_from(TEXT)
    InsertQuantizeDequantize(encodings=encodings)(quantized)
    x = np.random.default_rng(0).normal(0, 0.7, (5, 1000)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    samples = open_samples(tmp_path / "x.npz", model)
    table = {line.name: line for line in tensor_errors(model, quantized, encodings, samples, tap_bytes=1)}
    assert list(table) == ["h", "y"], "in the graph's order, without what only one use converts"
    held = dequantize(quantize(-x, encodings.tensors["h"]), encodings.tensors["h"])
    expected = 10 * np.log10((x.astype(float) ** 2).sum() / ((held + x).astype(float) ** 2).sum())
    assert table["h"].sqnr_db == pytest.approx(expected, rel=1e-4)
    assert table["h"].saturated == pytest.approx(np.mean((-x > 1.275) | (-x < -1.285)), abs=1e-9)
    assert table["h"].elements == 5000
    assert table["y"].sqnr_db < 20
    assert table["y"].saturated == 0


def test_a_tensor_without_error_has_infinite_ratio(tmp_path):
    encodings = Encodings(tensors={"y": Encoding(dtype="uint8", scale=1.0, zero_point=0)})
    text = "(float[2] x) => (float[2] y) {y = Abs(x)}"
    model, quantized = model_from(text), model_from(text)
    InsertQuantizeDequantize(encodings=encodings)(quantized)
    np.savez(tmp_path / "x.npz", x=np.array([[1, -3]], np.float32))
    (line,) = tensor_errors(model, quantized, encodings, open_samples(tmp_path / "x.npz", model))
    assert line.sqnr_db == np.inf
