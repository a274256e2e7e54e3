import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.graph import Editor
from npuopt.passes.quantize.drop_quantize_dequantize import DropQuantizeDequantize
from npuopt.quantization.encodings import Encoding, per_tensor
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

FINE = "float s = {0.0009765625}, uint16 z = {32768}"
"""Steps so fine that dropping them changes next to nothing."""
CONTRIB = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'


def dropped(text, **options):
    """Drop the pairs, check that numbers stay close, and return what was found."""
    drop = DropQuantizeDequantize()
    assert_rewrites(drop, text, None, tolerance=options.pop("tolerance", 1e-2), **options)
    return drop.found[0]


def test_the_float_graph_remains():
    drop = DropQuantizeDequantize()
    assert_rewrites(
        drop,
        f"""(float[2,2] x) => (float[2,2] y) <{FINE}, int8[2,2] w = {{1,-2,3,4}}, float t = {{0.5}}>
        {{q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear(w, t)
        m = MatMul(d, v) p = QuantizeLinear(m, s, z) y = DequantizeLinear(p, s, z)}}""",
        f"""(float[2,2] x) => (float[2,2] y) <{FINE}, float t = {{0.5}}, float[2,2] v = {{0.5,-1,1.5,2}}>
        {{y = MatMul(x, v)}}""",
        tolerance=1e-2,
    )
    found, fine = drop.found[0], per_tensor("uint16", 0.0009765625, 32768)
    (weight,) = found.integers
    assert found.tensors == {"x": fine, "y": fine, weight: per_tensor("int8", 0.5, 0)}
    assert found.integers[weight].tolist() == [[1, -2], [3, 4]]
    assert (found.activation_bits, found.weight_bits) == (16, 8)


def test_weights_quantized_while_running():
    found = dropped(
        """(float[2,2] x) => (float[2,2] y)
        <float[2,2] w = {0.5,-1.1,1.5,2}, float[2] t = {0.25, 0.5}, int8[2] n = {0, 0}>
        {q = QuantizeLinear<axis = 0>(w, t, n) v = DequantizeLinear<axis = -2>(q, t, n) y = MatMul(x, v)}""",
    )
    (weight,) = found.integers
    assert found.tensors[weight] == Encoding(dtype="int8", scale=(0.25, 0.5), zero_point=(0,), axis=0)
    assert found.integers[weight].tolist() == [[2, -4], [3, 4]]


def test_integers_that_are_moved():
    found = dropped(
        f"""(float[2,3] x) => (float[6] y) <{FINE}, int64[1] flat = {{-1}}>
        {{q = QuantizeLinear(x, s, z) t = Transpose<perm = [1, 0]>(q) r = Reshape(t, flat)
        d = DequantizeLinear(r, s, z) y = Neg(d)}}""",
    )
    assert list(found.tensors.values()) == [per_tensor("uint16", 0.0009765625, 32768)]


def test_operators_of_onnx_runtime():
    found = dropped(
        f"""{CONTRIB} (float[2] x) => (float[2] y) <{FINE}>
        {{q = com.microsoft.QuantizeLinear(x, s, z) d = com.microsoft.DequantizeLinear(q, s, z) y = Neg(d)}}""",
    )
    assert list(found.tensors) == ["x"]


def test_a_tensor_that_is_read_in_float_too_is_quantized_for_single_readers():
    found = dropped(
        f"""(float[2] x) => (float[2] y, float[2] z2) <{FINE}>
        {{a = Neg(x) q = QuantizeLinear(a, s, z) d = DequantizeLinear(q, s, z) b = Abs(d) y = Sqrt(b) z2 = Neg(a)}}""",
        feeds={"x": np.array([-1.0, 2.0], np.float32)},
    )
    fine = per_tensor("uint16", 0.0009765625, 32768)
    assert found.tensors == {}
    assert found.uses == {"b": {"a": fine}, "y": {"a": fine}}


def test_of_two_encodings_the_finer_is_the_tensors_own():
    found = dropped(
        f"""(float[2] x) => (float[2] y, float[2] v) <{FINE}, float t = {{0.0625}}, int8 n = {{0}}>
        {{q = QuantizeLinear(x, t, n) d = DequantizeLinear(q, t, n) y = Neg(d)
        p = QuantizeLinear(x, s, z) e = DequantizeLinear(p, s, z) v = Abs(e)}}""",
        tolerance=0.1,
    )
    assert found.tensors["x"].dtype == "uint16"
    assert found.uses["y"]["x"] == per_tensor("int8", 0.0625, 0)


def test_an_input_and_an_output_of_integers_stay_and_are_known():
    drop = DropQuantizeDequantize()
    text = f"""(uint16[2] x) => (uint16[2] y) <{FINE}>
        {{d = DequantizeLinear(x, s, z) n = Neg(d) y = QuantizeLinear(n, s, z)}}"""
    assert_leaves(drop, text, because="its integers are an input")
    assert drop.found[0].tensors.keys() == {"d", "n"}


def test_leaves_blocks():
    text = """(float[2,4] x) => (float[2,4] y) <int8[2,4] w = {1,2,3,4,5,6,7,8}, float[1,4] t = {1,1,2,2}>
        {v = DequantizeLinear<axis = 0, block_size = 2>(w, t) y = Add(x, v)}"""
    assert_leaves(DropQuantizeDequantize(), text, because="in blocks")


def test_leaves_a_scale_given_at_run_time():
    text = """(float[2] x, float s) => (float[2] y) <int8 n = {0}>
        {q = QuantizeLinear(x, s, n) y = DequantizeLinear(q, s, n)}"""
    assert_leaves(DropQuantizeDequantize(), text, because="given at run time")


def test_leaves_integers_that_mean_something_else_afterwards():
    text = """(float[2] x) => (float[2] y) <float s = {0.5}, float t = {2}, int8 n = {0}>
        {q = QuantizeLinear(x, s, n) y = DequantizeLinear(q, t, n)}"""
    assert_leaves(DropQuantizeDequantize(), text, because="its parameters are others")


def test_leaves_an_activation_with_a_scale_for_each_channel():
    text = """(float[1,2,3] x) => (float[1,2,3] y) <float[2] s = {0.5, 0.25}, int8[2] n = {0, 0}>
        {q = QuantizeLinear<axis = 1>(x, s, n) y = DequantizeLinear<axis = 1>(q, s, n)}"""
    assert_leaves(DropQuantizeDequantize(), text, because="a scale for each channel")


def test_leaves_half_precision():
    text = """(float16[2] x, float16 s) => (float16[2] y) <int8 n = {0}>
        {q = QuantizeLinear(x, s, n) y = DequantizeLinear(q, s, n)}"""
    model = model_from(text)
    half = Editor(model).constant(np.array(0.5, np.float16), near=next(iter(model.graph)), name="half")
    model.graph.inputs.pop().replace_all_uses_with(half)
    assert_leaves(DropQuantizeDequantize(), model, because="float16")


@pytest.mark.parametrize("scale", [0.0, -0.5, np.nan, np.inf])
def test_a_scale_that_is_none(scale):
    model = model_from(
        """(float[2] x, float s) => (float[2] y) <int8 n = {0}>
        {q = QuantizeLinear(x, s, n) y = DequantizeLinear(q, s, n)}"""
    )
    broken = Editor(model).constant(np.array(scale, np.float32), near=next(iter(model.graph)), name="broken")
    model.graph.inputs.pop().replace_all_uses_with(broken)
    with pytest.raises(InputError, match=r"node .*: scale\.0: Input should be"):
        DropQuantizeDequantize()(model)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        scale = around.constant(np.array(2.0**-10, np.float32), varies=False)
        zero = around.constant(np.array(32768, np.uint16), varies=False)
        x = around.op("Tanh", around.input(2, 3))
        around.op("DequantizeLinear", around.op("QuantizeLinear", x, scale, zero), scale, zero)

    check_surroundings(DropQuantizeDequantize(), build, tolerance=2e-2)
