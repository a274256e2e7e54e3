"""Shapes that are computed in the graph, followed through names of dims."""

import pytest

from npuopt.graph import Shape, dims, nodes
from npuopt.graph.shape_results import infer_again, known_shape, note_dims
from npuopt.graph.shape_values import known_result
from support.rewrites import model_from

N = "n = Shape<start = 0, end = 1>(x) m = Shape<start = 1, end = 2>(x)"
CONSTANTS = """<int64[1] zero = {0}, int64[1] one = {1}, int64[1] minus = {-1}, int64[1] four = {4}, int64 s0 = {0},
    int64 s1 = {1}, int64[1] end = {9223372036854775807}>"""


def shape_of_last(body, inputs="float[N, M] x, float[1, M, 3] z"):
    model = model_from(f"({inputs}) => (float[?] y) {CONSTANTS} {{ {N} {body} }}")
    known = {}
    for node in nodes(model):
        found = known_shape(node, known)
        if (result := known_result(node, known)) is not None:
            known[node.outputs[0]] = result
    return found


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("t = Concat<axis = 0>(n, one, one) y = Expand(z, t)", ("N", "M", 3)),
        ("t = Concat<axis = 0>(n, m, four) y = Expand(x, t)", ("N", None, 4)),  # N or M, whichever is not 1
        ("t = Concat<axis = 0>(four, m) y = Expand(x, t)", (4, "M")),  # N is 1 or 4
        ("t = Concat<axis = 0>(m, n) y = Reshape(x, t)", ("M", "N")),
        ("t = Concat<axis = 0>(minus, n) y = Reshape(x, t)", ("M", "N")),  # what is left over is one dim
        ("t = Concat<axis = 0>(zero, one, minus) y = Reshape(x, t)", ("N", 1, "M")),
        ("t = Concat<axis = 0>(minus, four) y = Reshape(x, t)", (None, 4)),
        ("t = Concat<axis = 0>(minus, one) y = Reshape(x, t)", (None, 1)),
        ("t = Concat<axis = 0>(m, n) y = Reshape<allowzero = 1>(x, t)", None),
        ("y = Slice(x, zero, n, zero)", ("N", "M")),
        ("y = Slice(x, zero, n, one)", ("N", None)),
        ("y = Slice(x, zero, end, minus)", ("N", "M")),
        ("y = Slice(x, one, n, zero)", (None, "M")),
        ("y = Slice(x, zero, n, zero, minus)", (None, "M")),
        ("y = Slice(x, zero, n, n)", None),
        ("k = Squeeze(n) y = Range(s0, k, s1)", ("N",)),
        ("k = Squeeze(n) y = Range(s1, k, s1)", None),
        ("t = Concat<axis = 0>(m, four) y = ConstantOfShape(t)", ("M", 4)),
        ("y = Abs(x)", None),
    ],
)
def test_what_is_known_of_a_computed_shape(body, shape):
    assert shape_of_last(body) == shape


def test_numbers_beat_names_and_names_beat_what_inference_made_up():
    value = model_from("(float[N, M] x) => (float[N, M] y) { y = Relu(x) }").graph.inputs[0]
    assert not note_dims(value, ("K", None))
    assert note_dims(value, (3, "unk__1"))
    assert dims(value) == (3, "M")
    assert not note_dims(value, (1, 2, 3))


def test_names_that_were_made_up_give_way_to_what_is_inferred():
    model = model_from("(float[N, M] x) => (float[?, ?] y) { a = Relu(x) y = Neg(a) }")
    relu, neg = nodes(model)
    neg.outputs[0].shape = Shape(("unk__1", "unk__2"))
    assert dims(relu.outputs[0]) == ("N", "M")
    assert infer_again(neg, 24)
    assert dims(neg.outputs[0]) == ("N", "M")
    assert not infer_again(neg, 24)
