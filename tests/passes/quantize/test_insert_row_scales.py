from dataclasses import dataclass

import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.graph.execution import Session
from npuopt.passes.lower.lower_layer_normalization_to_power import LowerLayerNormalizationToPower
from npuopt.passes.quantize.insert_row_scales import InsertRowScales
from npuopt.quantization.normalizations import match_normalization
from npuopt.target import parse_target
from support.integer_chip import HEAD
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = "int64[1] axes = {2}, float epsilon = {0.001}, float half = {-0.5}"
BEFORE = f"""(float[2,3,8] x) => (float[2,3,8] y) <{CONSTANTS}>
    {{q = Mul(x, x) v = ReduceMean<keepdims=1>(q, axes) e = Add(v, epsilon) f = Pow(e, half) y = Mul(x, f)}}"""


def test_rows_are_divided_by_about_their_largest_number():
    assert_rewrites(
        InsertRowScales({"y": 0.25}),
        BEFORE,
        f"""(float[2,3,8] x) => (float[2,3,8] y) <{CONSTANTS}, float offset = {{0.25}}> {{
            a = Abs(x) m = ReduceMax<keepdims=1>(a, axes) o = Add(m, offset) u = Pow(o, half) r = Mul(u, u)
            d = Mul(x, r) q = Mul(d, d) v = ReduceMean<keepdims=1>(q, axes)
            t = Mul(r, epsilon) s = Mul(t, r) e = Add(v, s) f = Pow(e, half) y = Mul(d, f)
        }}""",
        tolerance=1e-5,
    )


@pytest.mark.parametrize("offset", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("epsilon", [1e-12, 1e-5, 1.0])
def test_rows_of_any_size_are_normalized_as_by_layer_normalization(offset, epsilon):
    """Small, large and flat ones; of a flat row the bias is left."""
    twos, threes = (",".join([number] * 16) for number in "23")
    text = f"""(float[5,16] x) => (float[5,16] y) <float[16] s = {{{twos}}}, float[16] b = {{{threes}}}>
        {{y = LayerNormalization<epsilon = {epsilon:.12f}>(x, s, b)}}"""
    rows = np.random.default_rng(0).normal(0, 1, (5, 16)) * [[1e-2], [1.0], [300.0], [0.0], [1.0]]
    rows[4, 3] = 1e3
    feeds = {"x": rows.astype(np.float32)}
    expected = Session(model_from(text)).run(feeds)["y"]
    model = model_from(text)
    LowerLayerNormalizationToPower()(model)
    [name] = [node.outputs[0].name for node in model.graph if match_normalization(node)]
    assert len(InsertRowScales({name: offset})(model).changed) == 1
    got = Session(model).run(feeds)["y"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(got[3], 3, atol=1e-5)


def test_what_is_squared_is_never_more_than_one():
    model = model_from(BEFORE)
    InsertRowScales({"y": 0.25})(model)
    square = next(node for node in model.graph if node.op_type == "ReduceMean").inputs[0]
    model.graph.outputs.append(square)
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 8)) * [[[1e-3], [1.0], [1e4]]]
    squares = Session(model).run({"x": x.astype(np.float32)})[square.name]
    assert 0.9 < squares.max() <= 1


@pytest.mark.parametrize(
    "text",
    [
        "(float[2,2] x) => (float[2,2] y) {y = Relu(x)}",
        BEFORE.replace("-0.5", "0.5"),
        BEFORE.replace("Mul(x, x)", "Mul(x, x2)").replace("(float[2,3,8] x)", "(float[2,3,8] x, float[2,3,8] x2)"),
    ],
)
def test_left_alone(text):
    assert_leaves(InsertRowScales({"y": 0.25}), text, because="no normalization by a mean of squares")


@pytest.mark.parametrize("missing", ["Abs", "ReduceMax"])
def test_left_alone_where_the_target_does_not_take_the_parts(missing):
    head = HEAD.replace("activation: float16", "activation: float16, tensors: [float32]")
    taken = sorted({"Abs", "Add", "Mul", "Pow", "ReduceMax", "ReduceMean"} - {missing})
    chip = parse_target(head + "\n".join(f"  {name}: {{schemes: [a16w8, fp16]}}" for name in taken))
    assert_leaves(InsertRowScales({"y": 0.25}), BEFORE, because=f"the {missing} would be refused", target=chip)


@pytest.mark.parametrize("offset", [0.0, -1.0, float("nan")])
def test_an_offset_is_a_positive_number(offset):
    with pytest.raises(InputError, match="positive number"):
        InsertRowScales({"y": offset})(model_from(BEFORE))


@dataclass(frozen=True)
class ScaleEverything(InsertRowScales):
    """Scales whatever can be."""

    def __call__(self, model, target=None):
        return InsertRowScales({node.outputs[0].name: 0.1 for node in model.graph})(model, target)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 4))
        axes = around.constant(np.array([around.choose(-1, 1)]), varies=False)
        square = around.op("ReduceMean", around.op("Mul", x, x), axes, keepdims=1)
        total = around.op("Add", square, around.constant(np.array(around.choose(1e-5, 0.1), np.float32)))
        around.op("Mul", x, around.op("Pow", total, around.constant(np.array(-0.5, np.float32))))

    check_surroundings(ScaleEverything(), build, least_hits=0.3, tolerance=1e-4)
