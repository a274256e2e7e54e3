"""Every node that TVM cannot take is named with its domain and the reason, also where TVM itself would say nothing."""

import numpy as np
import onnx.parser
import pytest
from delegates.host_cases import compile_and_run, model_of, read, sample_for

from npuopt.delegates.host.tvm_check import find_refusals
from npuopt.graph import parse

TWO = "float[2,3] x"


def reasons(model) -> list[str]:
    return [str(refusal) for refusal in find_refusals(read(model))]


def test_what_is_right_is_not_refused():
    body = "a = MatMul (x, w) y = Softmax (a)"
    assert reasons(model_of(body, TWO, "float[2,4] y", w=np.ones((3, 4), np.float32))) == []


def test_every_refused_node_is_named():
    text = """
        <ir_version: 10, opset_import: ["" : 24, "my.domain" : 1]>
        g (float[2,3] x) => (float[2,3] y, float[2,3] z) {
            [first] a = my.domain.Relu (x)
            [second] y = STFT (a)
            z = Celu (a)
        }
    """
    found = [(r.domain, r.op_type, r.node) for r in find_refusals(parse(text))]
    assert found == [("my.domain", "Relu", "first"), ("", "STFT", "second"), ("", "Celu", "Celu(z)")]


@pytest.mark.parametrize(
    ("body", "inputs", "outputs", "because"),
    [
        ("y = IsInf <detect_positive = 0> (x)", TWO, "bool[2,3] y", "one sign only"),
        ("y, m = LayerNormalization (x, s)", TWO, "float[2,3] y, float[2,1] m", "'m' is asked for"),
        ("y = Mod (x, x)", TWO, "float[2,3] y", "fmod is 0"),
        ("y = Pow (x, n)", f"{TWO}, int64[2,3] n", "float[2,3] y", "one float type"),
        ("y = Reshape (x, n)", f"{TWO}, int64[2] n", "float[3,2] y", "input 1 ('n') is not constant"),
        ("y = ReduceSum <noop_with_empty_axes = 1> (x)", TWO, "float[2,3] y", "noop_with_empty_axes is 1"),
        ("y = ReduceMax (x)", "float[0,3] x", "float[1,1] y", "'x' is empty"),
        ("y = PRelu (x, x)", "float x", "float y", "scalar"),
        ("y = Relu (x)", "double[2] x", "double[2] y", "element type DOUBLE"),
        ("y = Relu (x)", "float[n] x", "float[n] y", "every dimension has to be a number"),
        ("y, i = MaxPool <kernel_shape = [2]> (x)", "float[1,1,4] x", "float[1,1,3] y, int64[1,1,3] i", "'i' is"),
        ("y = SpaceToDepth <blocksize = 2, mode = \"CRD\"> (x)", "float[1,1,2,2] x", "float[1,4,1,1] y", "mode is"),
        ("y = Resize <mode = \"nearest\"> (x, , , size)", "float[1,1,4,4] x", "float[1,1,7,8] y", "no whole ratio"),
        ("y = Resize <mode = \"linear\"> (x, , scale)", "float[1,1,3,3] x", "float[1,1,4,4] y", "no whole sizes"),
        ("y = Resize <mode = \"linear\", antialias = 1> (x, , scale)", "float[1,1,4,4] x", "float[1,1,6,6] y", "alias"),
        ("y = Attention (x, x, x)", "float[1,2,3,4] x", "float[1,2,3,4] y", "no converter"),
        ("y = NonMaxSuppression (x, t)", "float[1,2,4] x, float[1,1,2] t", "int64[n,3] y", "no converter"),
    ],
)  # fmt: skip
def test_each_reason(body, inputs, outputs, because):
    weights = {
        "s": np.ones(3, np.float32),
        "size": np.array([1, 1, 7, 8]),
        "scale": np.array([1, 1, 1.5, 1.5], np.float32),
    }
    (found,) = reasons(model_of(body, inputs, outputs, **weights))
    assert because in found


def test_weights_that_tvm_cannot_unpack_are_refused():
    text = """
        <ir_version: 10, opset_import: ["" : 24]>
        g (float[2] x) => (float[2] y) <int4[2] w = {1, 2}, float s = {0.5}> {
            d = DequantizeLinear (w, s)
            y = Add (x, d)
        }
    """
    (found,) = reasons(onnx.parser.parse_model(text))
    assert "INT4" in found


def test_what_the_check_is_for_tvm_computes_wrong_numbers_without_a_word():
    text = """
        <ir_version: 10, opset_import: ["" : 24, "my.domain" : 1]>
        g (float[2,3] x) => (float[2,3] y) { y = my.domain.Relu (x) }
    """
    model = onnx.parser.parse_model(text)
    sample = sample_for(model)
    (made,), _ = compile_and_run(model, sample)
    np.testing.assert_array_equal(made, np.maximum(sample["x"], 0))
    assert reasons(model)
