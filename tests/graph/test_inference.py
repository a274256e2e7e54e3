"""Types and shapes: of a whole model, of one new node, and after dims were frozen."""

import onnx_ir as ir
import pytest

from npuopt.graph import DataType, Model, dims, infer_node, infer_shapes, nodes, parse, static_shape

HEADER = '<ir_version: 12, opset_import: ["" : 24, "com.microsoft" : 1]>\n'


def model_of(text: str) -> Model:
    return parse(HEADER + text)


def value(model: Model, name: str) -> ir.Value:
    return next(output for node in model.graph.all_nodes() for output in node.outputs if output.name == name)


def freeze(model: Model, name: str, size: int) -> None:
    """What a pass that freezes dims does to the inputs."""
    for item in model.graph.inputs:
        item.shape = ir.Shape([size if dim == name else dim for dim in dims(item)])


def test_shape_arithmetic_is_followed_through():
    model = model_of("""g (float[2,N,8] x) => (float[] y)
      <int64[1] first = {0}, int64[1] last = {2}, int64[1] rest = {-1}> {
        s = Shape(x)  a = Gather(s, first)  b = Gather(s, last)  two = Add(a, a)
        shape = Concat<axis = 0>(two, rest, b)  y = Reshape(x, shape)
    }""")
    infer_shapes(model)
    assert dims(model.graph.outputs[0])[0] == 4
    assert dims(model.graph.outputs[0])[2] == 8


def test_weights_are_not_needed_but_their_shapes_are():
    model = model_of("g (float[2,64] x) => (float[] y) { y = MatMul(x, w) }")
    weight = next(iter(model.graph)).inputs[1]
    weight.const_value = ir.LazyTensor(
        lambda: pytest.fail("a weight was read"), DataType.FLOAT, ir.Shape([64, 128]), name="w"
    )
    weight.shape, weight.type = ir.Shape([64, 128]), ir.TensorType(DataType.FLOAT)
    model.graph.register_initializer(weight)
    infer_shapes(model)
    assert static_shape(model.graph.outputs[0]) == (2, 128)


def test_subgraphs_are_inferred_too():
    model = model_of("""g (float[2,3] x, bool c) => (float[] y) {
        y = If(c) <then_branch = a () => (float[] p) { t = Transpose(x)  p = Relu(t) },
                   else_branch = b () => (float[] q) { q = Transpose(x) }>
    }""")
    infer_shapes(model)
    assert static_shape(value(model, "t")) == (3, 2)
    assert static_shape(value(model, "y")) == (3, 2)


def test_ops_of_other_domains_keep_what_is_noted_of_them():
    model = model_of("""g (float[2,3] x) => (float[] y) <float[2,3] t> {
        t = com.microsoft.Unique(x)  u = com.microsoft.Unique(t)  y = Relu(t) }""")
    for forget in (False, True):
        infer_shapes(model, forget=forget)
        assert static_shape(value(model, "t")) == (2, 3)
        assert value(model, "u").type is None
        assert static_shape(value(model, "y")) == (2, 3)


def test_what_is_known_is_not_lost():
    model = model_of("""g (float[N,3] x, int64[1] s) => (float[] y) <float[N,7] t, float[N,3] u> {
        t = Reshape(x, s)  u = Relu(x)  y = Relu(t) }""")
    infer_shapes(model)
    assert dims(value(model, "t")) == ("N", 7)
    assert dims(value(model, "u")) == ("N", 3)


def test_inference_fills_the_dims_that_are_not_known_yet():
    model = model_of("g (float[N,3] x) => (float[] y) { t = Relu(x)  y = Relu(t) }")
    value(model, "t").shape = ir.Shape([None, "K"])
    infer_shapes(model)
    assert dims(value(model, "t")) == ("N", 3)


def test_after_freezing_nothing_stale_stays():
    model = model_of("""g (float[batch,3] x) => (float[batch,3] y)
      <float[batch,3] t, float[1,3] traced, float[batch] m, int64[1] axis = {1}> {
        t = Relu(x)  traced = Abs(t)  m = ReduceMax<keepdims = 0>(traced, axis)  y = Neg(traced) }""")
    freeze(model, "batch", 4)
    infer_shapes(model, forget=True)
    shapes = {output.name: static_shape(output) for node in nodes(model) for output in node.outputs}
    assert shapes == {"t": (4, 3), "traced": (4, 3), "m": (4,), "y": (4, 3)}


def test_forgetting_keeps_type_and_rank_where_inference_finds_nothing():
    model = model_of(
        """g (float[N,3] x, int64[r] s) => (float[] y) <float[N,3] t> { t = Reshape(x, s)  y = Relu(t) }"""
    )
    infer_shapes(model, forget=True)
    assert value(model, "t").dtype == DataType.FLOAT
    assert dims(value(model, "t")) == (None, None)


def test_large_models_take_linear_time():
    chain = "".join(f"v{i + 1} = Neg(v{i})\n" for i in range(20_000))
    model = model_of(f"g (float[2,N] v0) => (float[] out) {{ {chain} out = Relu(v20000) }}")
    infer_shapes(model)
    assert dims(model.graph.outputs[0]) == (2, "N")


def test_what_contradicts_is_left_to_the_checker():
    model = model_of("g (float[2,4] x) => (float[2,3] y) { y = Relu(x) }")
    infer_shapes(model)
    assert static_shape(model.graph.outputs[0]) == (2, 3)


def test_what_is_remembered_of_a_node_holds_for_nodes_like_it_only():
    """Inputs, constants and attributes differ one by one; names do not matter."""
    cases = {
        "g (float[2,N] x) => (float[] y) <int64[2] s = {-1, 1}> { y = Reshape(x, s) }": (None, 1),
        "g (float[2,N] z) => (float[] w) <int64[2] t = {-1, 1}> { w = Reshape(z, t) }": (None, 1),
        "g (float[2,N] x) => (float[] y) <int64[2] s = {0, -1}> { y = Reshape(x, s) }": (2, None),
        "g (float[3,N] x) => (float[] y) <int64[2] s = {0, -1}> { y = Reshape(x, s) }": (3, None),
        "g (float[0,4] x) => (float[] y) <int64[2] s = {0, 4}> { y = Reshape(x, s) }": (0, 4),
        "g (float[0,4] x) => (float[] y) <int64[2] s = {4, 0}> { y = Reshape<allowzero = 1>(x, s) }": (4, 0),
        "g (float[2,3] x, int64[2] s) => (float[] y) { y = Reshape(x, s) }": (None, None),
    }
    for text, shape in (*cases.items(), *reversed(cases.items())):
        node = nodes(model_of(text))[0]
        node.outputs[0].shape = None
        infer_node(node, 24)
        assert dims(node.outputs[0]) == shape, text


def test_an_output_that_is_left_out_is_not_taken_for_one_that_is_there():
    for text, there in (("y, m = Dropout(x)", True), ("y = Dropout(x)", False)):
        node = nodes(model_of(f"g (float[2,N] x) => (float[] y) {{ {text} }}"))[0]
        node.outputs[0].shape = None
        infer_node(node, 24)
        assert [dims(output) for output in node.outputs] == [(2, "N")] * (1 + there)
