"""What each layer's rounding costs, by itself and at the outputs."""

import numpy as np
import onnx_ir as ir
import pytest

from npuopt.graph import Session
from npuopt.passes.quantize.insert_quantize_dequantize import InsertQuantizeDequantize
from npuopt.quantization import Encoding, Encodings, calibrate, encodings_for
from npuopt.quantization.accuracy.sensitivity import decibels, layer_errors, relative_noise
from npuopt.quantization.arithmetic import dequantize, quantize
from support.integer_chip import integer_chip
from support.rewrites import model_from

RANDOM = np.random.default_rng(0)
SAMPLES = [{"x": RANDOM.normal(0, 1, (4, 8)).astype(np.float32)} for _ in range(4)]


class Data(list):
    count = None


def insert(model, encodings):
    InsertQuantizeDequantize(encodings=encodings)(model)


def uint8(low, high):
    scale = float(np.float32((high - low) / 255))
    return Encoding(dtype="uint8", scale=scale, zero_point=round(-low / scale))


def measure(text, encodings, samples=SAMPLES, **options):
    return {one.name: one for one in layer_errors(model_from(text), encodings, insert, samples, threads=1, **options)}


def held(array, encoding):
    return dequantize(quantize(array, encoding), encoding).astype(np.float64)


def noise(expected, got):
    return float(((expected.astype(np.float64) - got) ** 2).sum() / (expected.astype(np.float64) ** 2).sum())


CHAIN = "(float[4,8] x) => (float[4,8] y) {h = Neg(x) y = Exp(h)}"


def test_a_layers_own_error_is_that_of_its_tensor_on_floats():
    encodings = Encodings(tensors={"x": uint8(-4, 4), "h": uint8(-3, 3)})
    found = measure(CHAIN, encodings)
    assert list(found) == ["x", "h"]
    assert [one.op_type for one in found.values()] == ["", "Neg"]
    x = np.concatenate([sample["x"] for sample in SAMPLES])
    assert found["x"].own_noise == pytest.approx(noise(x, held(x, encodings.tensors["x"])), rel=1e-4)
    assert found["h"].own_noise == pytest.approx(noise(-x, held(-x, encodings.tensors["h"])), rel=1e-4)
    assert found["h"].own_db == pytest.approx(decibels(found["h"].own_noise))


def test_the_effect_at_the_outputs_is_of_this_layer_alone():
    encodings = Encodings(tensors={"x": uint8(-4, 4), "h": uint8(-3, 3)})
    found = measure(CHAIN, encodings, effects_on=SAMPLES[:2])
    x = np.concatenate([sample["x"] for sample in SAMPLES[:2]])
    for name, inner in (("x", -held(x, encodings.tensors["x"])), ("h", held(-x, encodings.tensors["h"]))):
        assert found[name].at_outputs["y"] == pytest.approx(noise(np.exp(-x), np.exp(inner)), rel=1e-3)
        assert found[name].at_output_db == pytest.approx(decibels(found[name].at_outputs["y"]))
    one = measure(CHAIN, encodings, effects_on=SAMPLES[:2], effects_of={"h"})
    assert not one["x"].at_outputs
    assert one["x"].at_output_db is None
    assert one["h"].at_outputs


def test_what_is_only_moved_costs_nothing_and_a_conversion_costs_its_reader():
    text = """(float[4,8] x) => (float[8,4] y, float[4,8] z) {h = Neg(x) t = Transpose(h) y = Relu(t) z = Neg(h)}"""
    wide = Encoding(dtype="uint16", scale=float(np.float32(1e-4)), zero_point=2**15)
    encodings = Encodings(tensors={"h": wide, "t": wide, "y": wide}, uses={"z": {0: uint8(-3, 3)}})
    found = measure(text, encodings)
    assert list(found) == ["h", "y", "z"]
    assert found["z"].own_db < 45
    assert found["h"].own_db > 70


def test_a_join_pays_for_what_it_converts_and_not_for_what_comes_converted():
    text = "(float[4,8] x) => (float[8,8] y) {h = Neg(x) y = Concat<axis=0>(h, x)}"
    rough = uint8(-4, 4)
    tensors = {"x": rough, "y": rough, "h": Encoding(dtype="uint16", scale=float(np.float32(1e-4)), zero_point=2**15)}
    found = measure(text, Encodings(tensors=tensors, uses={"y": {0: rough}}))
    x = np.concatenate([sample["x"] for sample in SAMPLES])
    assert found["y"].own_noise == pytest.approx(noise(x, held(x, rough)) / 2, rel=0.05), "half of it is converted"


def test_what_an_activation_function_cuts_off_is_no_error():
    text = "(float[4,8] x) => (float[4,8] y) {h = Neg(x) y = Relu(h)}"
    found = measure(text, Encodings(tensors={"h": uint8(0, 4), "y": uint8(0, 4)}))
    assert found["h"].own_db > 30


ZEROS = "{" + ",".join(["0"] * 64) + "}"
NETWORK = f"""(float[4,8] x) => (float[4,8] y, float[8,4] p) <float[8,8] w = {ZEROS}, float[8,8] v = {ZEROS}>
{{a = MatMul(x, w) b = Relu(a) c = Add(b, x) s = Softmax(c) d = MatMul(s, v) p = Transpose(d) y = Sub(d, c)}}"""


@pytest.mark.parametrize("scheme", ["a8w8", "a16w8"])
def test_the_effects_add_up_to_the_error_of_the_quantized_model(scheme):
    model = model_from(NETWORK)
    for name in "wv":
        weight = np.random.default_rng(ord(name)).normal(0, 0.5, (8, 8)).astype(np.float32)
        model.graph.initializers[name].const_value = ir.tensor(weight)
    encodings = encodings_for(model, integer_chip(), scheme, calibrate(model, Data(SAMPLES)))
    found = layer_errors(model, encodings, insert, SAMPLES, effects_on=SAMPLES, threads=1)
    session = Session(model, threads=1)
    reference = [session.run(sample) for sample in SAMPLES]
    insert(model, encodings)
    quantized = Session(model, threads=1)
    real = relative_noise(reference, [quantized.run(sample) for sample in SAMPLES])
    for name, measured in real.items():
        together = sum(one.at_outputs[name] for one in found)
        assert decibels(together) == pytest.approx(decibels(measured), abs=2.0)


def test_the_model_is_left_as_it_was():
    model = model_from(CHAIN)
    before = [node.op_type for node in model.graph]
    layer_errors(model, Encodings(tensors={"h": uint8(-3, 3)}), insert, SAMPLES, threads=1)
    assert [node.op_type for node in model.graph] == before
    assert [value.name for value in (*model.graph.inputs, *model.graph.outputs)] == ["x", "y"]


def test_progress_is_told_with_the_total_once_it_is_known():
    told = []
    encodings = Encodings(tensors={"x": uint8(-4, 4), "h": uint8(-3, 3)})
    measure(CHAIN, encodings, effects_on=SAMPLES[:1], progress=lambda done, total: told.append((done, total)))
    assert told[:4] == [(1, None), (2, None), (3, None), (4, None)]
    assert told[4:] == [(5, 7), (6, 7), (7, 7)]
