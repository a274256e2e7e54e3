"""Ops whose meaning changed: the same numbers before and after."""

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from npuopt.graph import Session, nodes, to_proto
from support.opsets import DRAW, SAME, X, assert_same, convert, floats, unknown_rank


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(("version", "axis"), [(7, None), (7, 0), (7, 3), (11, -1), (11, -2), (12, 2)])
def test_softmax_of_a_matrix_view(tmp_path, op, version, axis):
    attributes = "" if axis is None else f"<axis = {axis}>"
    assert_same(tmp_path, f"g {SAME} {{ y = {op}{attributes}(x) }}", version, x=X)


def test_softmax_where_the_view_makes_no_difference_stays_one_node(tmp_path):
    text = "g (float[2,3,1,1] x) => (float[2,3,1,1] y) { y = Softmax(x) }"
    model = assert_same(tmp_path, text, 7, x=floats(2, 3, 1, 1))
    assert [node.op_type for node in model.graph] == ["Softmax"]
    assert nodes(model, "Softmax")[0].attributes["axis"].as_int() == 1


@pytest.mark.parametrize("axis", [1, 3])
def test_softmax_of_unknown_rank(tmp_path, axis):
    text = unknown_rank(f"y = Softmax<axis = {axis}>(t)")
    assert_same(tmp_path, text, 9, x=X, s=np.int64([5, 4, 3, 2]))


def test_softmax_from_13_on_is_left_alone(tmp_path):
    model = assert_same(tmp_path, f"g {SAME} {{ y = Softmax<axis = 1>(x) }}", 13, x=X)
    assert [node.op_type for node in model.graph] == ["Softmax"]


@pytest.mark.parametrize(("version", "attributes"), [(7, ""), (7, "<spatial = 1>"), (9, "<epsilon = 0.1>"), (14, "")])
def test_batch_normalization(tmp_path, version, attributes):
    parameters = {"s": floats(3), "b": floats(3), "m": floats(3), "v": np.abs(floats(3)) + 0.1}
    inputs = ", ".join(f"float[3] {name}" for name in parameters)
    text = f"g (float[2,3,4,5] x, {inputs}) => (float[] y) {{ y = BatchNormalization{attributes}(x, s, b, m, v) }}"
    model = assert_same(tmp_path, text, version, x=X, **parameters)
    assert [node.op_type for node in model.graph] == ["BatchNormalization"]


def test_batch_normalization_of_each_activation(tmp_path):
    parameters = {"s": floats(3, 4), "b": floats(3, 4), "m": floats(3, 4), "v": np.abs(floats(3, 4)) + 0.1}
    inputs = ", ".join(f"float[3,4] {name}" for name in parameters)
    body = "y = BatchNormalization<spatial = 0, epsilon = 0.01>(x, s, b, m, v)"
    text = f"g (float[2,3,4] x, {inputs}) => (float[2,3,4] y) {{ {body} }}"
    assert_same(tmp_path, text, 7, x=floats(2, 3, 4), **parameters)


def test_scatter(tmp_path):
    text = "g (float[3,3] x, int64[1,3] i, float[1,3] u) => (float[3,3] y) { y = Scatter<axis = 0>(x, i, u) }"
    assert_same(tmp_path, text, 9, x=floats(3, 3), i=np.int64([[0, 2, 1]]), u=floats(1, 3))


def test_roi_align(tmp_path):
    text = """g (float[1,2,8,8] x, float[2,4] rois, int64[2] batch) => (float[] y) {
        y = RoiAlign<output_height = 3, output_width = 3, sampling_ratio = 2>(x, rois, batch) }"""
    path, model = convert(tmp_path, text, 10)
    rois = np.float32([[0, 0, 4, 4], [1.5, 2, 6, 7]])
    feeds = {"x": floats(1, 2, 8, 8), "rois": rois, "batch": np.int64([0, 0])}
    old = Session(path, threads=1).run(feeds)["y"]
    (new,) = ReferenceEvaluator(to_proto(model)).run(None, feeds)  # ONNX Runtime has no kernel since 22
    np.testing.assert_allclose(new, old, rtol=1e-5)


@pytest.mark.parametrize("attributes", ["", '<mode = "bilinear">', '<mode = "bicubic">', '<mode = "nearest">'])
def test_grid_sample(tmp_path, attributes):
    text = f"g (float[1,2,5,5] x, float[1,3,3,2] grid) => (float[] y) {{ y = GridSample{attributes}(x, grid) }}"
    grid = DRAW.uniform(-1, 1, (1, 3, 3, 2)).astype(np.float32)
    assert_same(tmp_path, text, 16, x=floats(1, 2, 5, 5), grid=grid)


@pytest.mark.parametrize("constant", [True, False])
def test_group_normalization(tmp_path, constant):
    parameters = "" if constant else ", float[2] s, float[2] b"
    initializers = "<float[2] s = {0.5, 2}, float[2] b = {1, -1}>" if constant else ""
    body = "y = GroupNormalization<num_groups = 2>(x, s, b)"
    text = f"g (float[2,6,4] x{parameters}) => (float[2,6,4] y) {initializers} {{ {body} }}"
    feeds = {"x": floats(2, 6, 4)} if constant else {"x": floats(2, 6, 4), "s": floats(2), "b": floats(2)}
    _, model = convert(tmp_path, text, 18)
    groups = feeds["x"].reshape(2, 2, 12)
    normal = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
    scale, bias = feeds.get("s", np.float32([0.5, 2])), feeds.get("b", np.float32([1, -1]))
    expected = (normal * scale[:, None] + bias[:, None]).reshape(2, 6, 4)  # ONNX Runtime refuses version 18
    np.testing.assert_allclose(Session(model, threads=1).run(feeds)["y"], expected, rtol=1e-4, atol=1e-5)
