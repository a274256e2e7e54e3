import numpy as np

from npuopt.graph import Session
from npuopt.graph.static_ends import with_static_ends
from support.rewrites import model_from


def test_a_model_of_static_outputs_is_itself():
    model = model_from("(float[2] x) => (float[2] y) {y = Relu(x)}")
    assert with_static_ends(model) is model


def test_outputs_of_unknown_size_give_way_to_what_they_are_computed_from():
    model = model_from(
        """(float[2, 3] x) => (float[2, 3] h, float[A] chosen, int64[1] count) <int64[1] flat = {-1}, int64 one = {1}> {
            h = Relu(x) n = Neg(h) v = Reshape(n, flat) c = Cast<to = 9>(v)
            chosen = Compress(v, c) s = Shape(chosen) count = Mul(s, one)
        }"""
    )
    ends = with_static_ends(model)
    assert [value.name for value in ends.graph.outputs] == ["h", "count", "chosen/input_0", "chosen/input_1"]
    assert [value.name for value in model.graph.outputs] == ["h", "chosen", "count"]
    x = np.array([[-1, 2, 0], [3, -4, 5]], np.float32)
    made = Session(ends).run({"x": x})
    np.testing.assert_array_equal(made["chosen/input_0"], -np.maximum(x, 0).reshape(-1))
    assert made["count"] == 3
