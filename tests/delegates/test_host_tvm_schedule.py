"""What npuopt schedules computes what ONNX Runtime computes: whole tiles, those that stick out, tails, fused steps."""

import numpy as np
import pytest
from delegates.host_cases import assert_as_onnx_runtime, model_of

RANDOM = np.random.default_rng(7)


def weights(*shape: int) -> np.ndarray:
    return (RANDOM.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)


@pytest.mark.parametrize(
    ("rows", "depth", "columns"),
    [(1, 64, 128), (7, 33, 24), (13, 16, 64), (128, 48, 40), (5, 20, 10), (3, 1, 17), (1, 5, 1)],
)
def test_a_product_with_constant_weights_and_what_follows_it(rows, depth, columns):
    body = "a = MatMul (x, w) b = Add (a, c) y = Gelu (b)"
    inputs, outputs = f"float[2,{rows},{depth}] x", f"float[2,{rows},{columns}] y"
    assert_as_onnx_runtime(model_of(body, inputs, outputs, w=weights(depth, columns), c=weights(columns)))


@pytest.mark.parametrize(("rows", "depth", "columns"), [(1, 32, 129), (17, 16, 32), (9, 40, 30), (16, 8, 21)])
def test_a_product_of_two_inputs_with_broadcast_batches(rows, depth, columns):
    inputs = f"float[2,3,{rows},{depth}] q, float[3,{depth},{columns}] k"
    assert_as_onnx_runtime(model_of("y = MatMul (q, k)", inputs, f"float[2,3,{rows},{columns}] y"))


def test_a_product_whose_result_is_moved_and_used_twice():
    body = """
        a = MatMul (x, w)
        r = Reshape (a, s)
        t = Transpose <perm = [0, 2, 1, 3]> (r)
        y = Relu (t)
        z = Sigmoid (a)
    """
    model = model_of(
        body, "float[1,6,16] x", "float[1,4,6,8] y, float[1,6,32] z", w=weights(16, 32), s=np.array([1, 6, 4, 8])
    )
    assert_as_onnx_runtime(model)


@pytest.mark.parametrize(
    ("channels", "filters", "size", "kernel", "stride", "pads", "dilation"),
    [
        (16, 24, 7, 1, 1, [0, 0, 0, 0], 1),
        (3, 16, 11, 3, 2, [1, 1, 1, 1], 1),
        (8, 30, 9, 3, 1, [0, 1, 2, 1], 1),
        (8, 8, 12, 3, 1, [2, 2, 2, 2], 2),
        (4, 5, 5, 5, 1, [2, 2, 2, 2], 1),
    ],
)
def test_a_convolution_with_bias_bound_and_residual(channels, filters, size, kernel, stride, pads, dilation):
    after = (size + pads[0] + pads[2] - (kernel - 1) * dilation - 1) // stride + 1
    wide = (size + 1 + pads[1] + pads[3] - (kernel - 1) * dilation - 1) // stride + 1
    body = f"""
        a = Conv <pads = {pads}, strides = [{stride}, {stride}], dilations = [{dilation}, {dilation}]> (x, w, b)
        c = Clip (a, low, high)
        y = Add (c, r)
    """
    model = model_of(
        body,
        f"float[1,{channels},{size},{size + 1}] x, float[1,{filters},{after},{wide}] r",
        f"float[1,{filters},{after},{wide}] y",
        w=weights(filters, channels, kernel, kernel),
        b=weights(filters),
        low=np.float32(0.0),
        high=np.float32(6.0),
    )
    assert_as_onnx_runtime(model)


@pytest.mark.parametrize(("channels", "size", "stride"), [(24, 9, 1), (40, 14, 2), (5, 6, 1)])
def test_a_depthwise_convolution(channels, size, stride):
    after = (size + 2 - 3) // stride + 1
    attributes = f"pads = [1, 1, 1, 1], strides = [{stride}, {stride}], group = {channels}"
    body = f"a = Conv <{attributes}> (x, w, b) y = HardSwish (a)"
    shapes = (f"float[1,{channels},{size},{size}] x", f"float[1,{channels},{after},{after}] y")
    assert_as_onnx_runtime(model_of(body, *shapes, w=weights(channels, 1, 3, 3), b=weights(channels)))


@pytest.mark.parametrize(("groups", "channels", "filters"), [(2, 8, 48), (8, 32, 32), (4, 4, 32), (3, 6, 6)])
def test_a_convolution_in_groups(groups, channels, filters):
    body = f"a = Conv <pads = [1, 1, 1, 1], group = {groups}> (x, w, b) y = Relu (a)"
    shapes = (f"float[2,{channels},6,7] x", f"float[2,{filters},6,7] y")
    weight = weights(filters, channels // groups, 3, 3)
    assert_as_onnx_runtime(model_of(body, *shapes, w=weight, b=weights(filters)))


@pytest.mark.parametrize(
    "body",
    [
        "y = Conv <pads = [1, 1], strides = [2]> (x, w)",
        'y = Conv <auto_pad = "SAME_UPPER", strides = [2]> (x, w)',
    ],
)
def test_a_convolution_over_one_axis(body):
    assert_as_onnx_runtime(model_of(body, "float[2,6,20] x", "float[2,16,10] y", w=weights(16, 6, 3)))


@pytest.mark.parametrize("extent", [1, 7, 8, 32, 129, 384])
@pytest.mark.parametrize(
    "body",
    [
        "y = Softmax (x)",
        "n = LayerNormalization (x, s, s) y = Relu (n)",
        "y = RMSNormalization <epsilon = 0.01> (x, s)",
        "m = ReduceMean <keepdims = 1> (x, last) y = Sub (x, m)",
        "m = ReduceMax <keepdims = 1> (x, last) y = Sub (x, m)",
        "m = ReduceSum <keepdims = 0> (x, last) k = Unsqueeze (m, last) y = Sub (x, k)",
    ],
)
def test_rows_of_any_length(body, extent):
    shape = f"float[3,5,{extent}]"
    assert_as_onnx_runtime(model_of(body, f"{shape} x", f"{shape} y", s=weights(extent) + 1, last=np.array([-1])))


@pytest.mark.parametrize(
    "body",
    [
        "y = LayerNormalization <axis = 0, epsilon = 0.1> (x, s)",
        "y = LayerNormalization <axis = 1> (x, one, s)",
        "y = RMSNormalization <axis = 0> (x, one)",
        "y = RMSNormalization <axis = -2> (x, s)",
    ],
)
def test_normalizations_of_several_axes_with_broadcast_scales(body):
    model = model_of(body, "float[3,5,8] x", "float[3,5,8] y", s=weights(8), one=np.full(1, 1.5, np.float32))
    assert_as_onnx_runtime(model)


def test_rows_that_are_large_enough_to_share_among_threads():
    model = model_of("y = Softmax (x)", "float[37,1024] x", "float[37,1024] y")
    assert_as_onnx_runtime(model)
    squares = "s = Mul (x, x) y = ReduceMean <keepdims = 0> (s, last)"
    assert_as_onnx_runtime(model_of(squares, "float[130,1000] x", "float[130] y", last=np.array([-1])))


@pytest.mark.parametrize(
    ("body", "shape", "result"),
    [
        ("y = GlobalAveragePool (x)", "1,24,7,7", "1,24,1,1"),
        ("y = ReduceMean <keepdims = 0> (x, axes)", "2,5,6,16", "2,16"),
        ("y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x)", "1,16,9,9", "1,16,5,5"),
        ("y = Softmax <axis = 1> (x)", "2,5,3,4", "2,5,3,4"),
        ("y = ReduceSumSquare <keepdims = 0> (x, axes)", "2,3,4,5", "2,5"),
    ],
)
def test_other_reductions(body, shape, result):
    model = model_of(body, f"float[{shape}] x", f"float[{result}] y", axes=np.array([1, 2]))
    assert_as_onnx_runtime(model)


def test_every_vector_width_gives_the_same_numbers():
    body = "a = MatMul (x, w) s = Softmax (a) y = LayerNormalization (s, g, g)"
    model = model_of(body, "float[9,20] x", "float[9,48] y", w=weights(20, 48), g=weights(48))
    for cpu in ("x86-64", "x86-64-v3"):
        assert_as_onnx_runtime(model, cpu=cpu)


def test_inputs_of_size_zero_and_of_rank_zero():
    body = "c = Concat <axis = 1> (past, x) y = Mul (c, k)"
    assert_as_onnx_runtime(model_of(body, "float[2,0,8] past, float[2,3,8] x, float k", "float[2,3,8] y"))


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16"])
def test_quantized_models_run_at_their_edges(kind):
    body = """
        q = QuantizeLinear (x, scale, zero)
        d = DequantizeLinear (q, scale, zero)
        p = QuantizeLinear <axis = 1> (x, scales, zeros)
        e = DequantizeLinear <axis = 1> (p, scales, zeros)
        y = Add (d, e)
    """
    weights = {
        "scale": np.float32(0.05),
        "zero": np.array(3, kind),
        "scales": np.array([0.1, 0.02, 0.3], np.float32),
        "zeros": np.array([0, 7, 1], kind),
    }
    assert_as_onnx_runtime(model_of(body, "float[5,3] x", "float[5,3] y", **weights))
