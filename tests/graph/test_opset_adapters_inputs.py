"""Attributes that became inputs: the same numbers before and after."""

import numpy as np
import onnx
import pytest

from npuopt.graph import Session, load, nodes
from support.opsets import ANY, X, assert_same, floats


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (7, "y = Slice<starts = [1, 0], ends = [9223372036854775807, -1], axes = [2, 3]>(x)"),
        (9, "y = Slice<starts = [0, 1], ends = [1, 3]>(x)"),
        (7, "y = Pad<pads = [0,0,1,2,0,0,0,1], value = 1.5>(x)"),
        (10, 'y = Pad<mode = "reflect", pads = [0,0,1,2,0,0,0,1]>(x)'),
        (7, "y = Clip<min = -0.5, max = 0.5>(x)"),
        (10, "y = Clip<max = 0.25>(x)"),
        (7, "y = Clip(x)"),
        (7, "y = Dropout<ratio = 0.3>(x)"),
        (11, "y = Dropout<ratio = 0.3>(x)"),
        (11, "u = Unsqueeze<axes = [0, -1]>(x)  y = Squeeze<axes = [0, 5]>(u)"),
        (7, "u = Unsqueeze<axes = [0, 1]>(x)  y = Squeeze(u)"),
        (7, "a, b = Split<axis = 2>(x)  y = Sub(a, b)"),
        (12, "a, b = Split<axis = 2, split = [1, 3]>(x)  y = Sub(a, b)"),
        (13, "n = Constant<value = int64[2] {1, 3}>() a, b = Split<axis = 2>(x, n)  y = Sub(a, b)"),
        (13, "a, b = Split<axis = 2>(x)  y = Sub(a, b)"),
        (7, "y, i = TopK<k = 2>(x)"),
        (9, "y, i = TopK<k = 2, axis = 1>(x)"),
        *((version, f"y = {op}{attributes}(p)")
          for op in ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
                     "ReduceProd", "ReduceSum", "ReduceSumSquare")
          for version, attributes in ((7, "<axes = [1, 3]>"), (12, "<axes = [-1], keepdims = 0>"), (11, ""))),
        (17, "y = ReduceMean<axes = [-1]>(x)"),
        (17, "n = Constant<value = int64[1] {2}>()  y = ReduceSum(x, n)"),
        (16, "y = ReduceMax<keepdims = 0>(x)"),
    ],
)  # fmt: skip
def test_attributes_that_became_inputs(tmp_path, version, body):
    assert_same(tmp_path, f"g {ANY} {{ p = Abs(x)  {body} }}", version, x=X)


def test_a_pad_value_takes_the_type_of_the_data(tmp_path):
    text = "g (float16[2] x) => (float16[] y) { y = Pad<pads = [1, 1], value = 2.0>(x) }"
    assert_same(tmp_path, text, 10, x=np.float16([1, 3]))


def test_bounds_take_the_type_of_data_of_unknown_type(tmp_path):
    path = tmp_path / "old.onnx"
    text = """<ir_version: 6, opset_import: ["" : 10, "com.microsoft" : 1]>
    g (float[2,2] x) => (float[2,2] y) { t = com.microsoft.Inverse(x)  y = Clip<min = 0.1>(t) }"""
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    model = load(path)
    assert nodes(model, "CastLike")
    feeds = {"x": floats(2, 2)}
    np.testing.assert_array_equal(Session(model).run(feeds)["y"], Session(path).run(feeds)["y"])


@pytest.mark.parametrize("attributes", ["", "<axis = 2>", "<onesided = 1>"])
def test_dft(tmp_path, attributes):
    x = floats(2, 4, 6, 1)
    assert_same(tmp_path, f"g (float[2,4,6,1] x) => (float[] y) {{ y = DFT{attributes}(x) }}", 17, x=x)
