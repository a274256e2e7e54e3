import numpy as np
import pytest

from npuopt.errors import UsageError
from npuopt.graph import element_type
from npuopt.passes.quantize.lower_float_precision import LowerFloatPrecision
from support.numbers import run
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

HALF = 2e-3
"""Of the largest number: float16 has 11 bits of mantissa."""


def test_casts_at_the_edges_and_weights_in_the_type():
    assert_rewrites(
        LowerFloatPrecision(),
        "(float[2] x) => (float[2] y) <float[2] w = {1.5, -2}> {a = Add(x, w) y = Tanh(a)}",
        """(float[2] x) => (float[2] y) <float16[2] w = {15872, 49152}>
        {h = Cast<to=10>(x) a = Add(h, w) b = Tanh(a) y = Cast<to=1>(b)}""",
        tolerance=HALF,
        seeds=(),
    )


def test_an_island_reads_and_makes_float32_and_a_value_is_cast_once_for_all_readers():
    assert_rewrites(
        LowerFloatPrecision(islands={"b": "because", "c": "because"}),
        """(float[2] x) => (float[2] y, float[2] z)
        {a = Neg(x) b = Exp(a) c = Abs(a) d = Neg(b) y = Add(d, b) z = Relu(c)}""",
        """(float[2] x) => (float[2] y, float[2] z) {
        h = Cast<to=10>(x) a = Neg(h) w = Cast<to=1>(a) b = Exp(w) c = Abs(w) n = Cast<to=10>(b) d = Neg(n)
        e = Add(d, n) y = Cast<to=1>(e) m = Cast<to=10>(c) f = Relu(m) z = Cast<to=1>(f)}""",
        tolerance=HALF,
        because="because",
    )


def test_a_graph_output_that_is_read_inside_as_well():
    assert_rewrites(
        LowerFloatPrecision(),
        "(float[2] x) => (float[2] a, float[2] y) {a = Neg(x) y = Abs(a)}",
        """(float[2] x) => (float[2] a, float[2] y)
        {h = Cast<to=10>(x) n = Neg(h) a = Cast<to=1>(n) b = Abs(n) y = Cast<to=1>(b)}""",
        tolerance=HALF,
    )


def test_between_casts_every_result_is_rounded():
    assert_rewrites(
        LowerFloatPrecision("bfloat16", between_casts=True),
        "(float[2] x) => (float[2] y) {a = Neg(x) y = Tanh(a)}",
        """(float[2] x) => (float[2] y) {
        h = Cast<to=16>(x) i = Cast<to=1>(h) a = Neg(i) j = Cast<to=16>(a) k = Cast<to=1>(j)
        b = Tanh(k) l = Cast<to=16>(b) y = Cast<to=1>(l)}""",
        tolerance=0.02,
    )


def test_between_casts_numbers_are_those_of_the_type():
    text = "(float[3] x) => (float[3] y) {a = Mul(x, x) y = Sqrt(a)}"
    model = model_from(text)
    LowerFloatPrecision(between_casts=True)(model)
    x = np.array([1.0003, 300.0, 1e-5], np.float32)
    with np.errstate(over="ignore"):
        square = x.astype(np.float16) * x.astype(np.float16)
    assert np.isinf(square[1])
    np.testing.assert_array_equal(run(model, {"x": x})["y"], np.sqrt(square.astype(np.float32)).astype(np.float16))


def test_integers_and_what_makes_indices_stay():
    assert_rewrites(
        LowerFloatPrecision(),
        """(float[4] x, int64[2] i) => (float[2] y, int64[2] j)
        {a = Neg(x) y = Gather(a, i) j = Add(i, i)}""",
        """(float[4] x, int64[2] i) => (float[2] y, int64[2] j)
        {h = Cast<to=10>(x) a = Neg(h) b = Gather(a, i) y = Cast<to=1>(b) j = Add(i, i)}""",
        tolerance=HALF,
        ranges={"i": (0, 4)},
    )


def test_a_cast_from_integers_makes_the_type_at_once_and_scales_of_resize_stay_float32():
    assert_rewrites(
        LowerFloatPrecision(),
        """(bool[1,1,2,2] x) => (float[1,1,4,4] y) <float[4] s = {1, 1, 2, 2}>
        {a = Cast<to=1>(x) y = Resize<mode = "nearest">(a, , s)}""",
        """(bool[1,1,2,2] x) => (float[1,1,4,4] y) <float[4] s = {1, 1, 2, 2}>
        {a = Cast<to=10>(x) b = Resize<mode = "nearest">(a, , s) y = Cast<to=1>(b)}""",
    )


def test_a_branch_reads_float32():
    report = assert_rewrites(
        LowerFloatPrecision(),
        """(float[2] x, bool c) => (float[2] y) {
        a = Neg(x)
        y = If (c) <then_branch = t () => (float[2] p) {p = Abs(a)},
        else_branch = e () => (float[2] q) {q = Exp(a)}>}""",
        """(float[2] x, bool c) => (float[2] y) {
        h = Cast<to=10>(x) n = Neg(h) a = Cast<to=1>(n)
        y = If (c) <then_branch = t () => (float[2] p) {p = Abs(a)},
        else_branch = e () => (float[2] q) {q = Exp(a)}>}""",
        tolerance=HALF,
        because="branches compute in float32",
    )
    assert [entry.op_type for entry in report.changed] == ["Neg"]


def test_a_constant_beyond_the_range_is_clamped_and_named():
    model = model_from("(float[2] x) => (float[2] y) <float m = {-1e30}> {y = Max(x, m)}")
    report = LowerFloatPrecision()(model)
    assert report.notes == ["constant m: 1e+30 became 65504, the greatest there is"]
    assert model.graph.initializers["m"].const_value.numpy() == np.float16(-65504)


def test_a_large_weight_is_stored_once_for_readers_of_both_types():
    weight = np.random.default_rng(0).normal(size=(32, 64)).astype(np.float32) / 8
    numbers = ", ".join(map(str, weight.reshape(-1)))
    model = model_from(
        f"""(float[2,32] x) => (float[2,64] y, float[2,64] z) <float[32,64] w = {{{numbers}}}>
        {{y = MatMul(x, w) a = MatMul(x, w) z = Exp(a)}}"""
    )
    LowerFloatPrecision(islands={"a": "because", "z": "because"})(model)
    assert [(name, value.dtype.name) for name, value in model.graph.initializers.items()] == [("w", "FLOAT16")]
    sample = {"x": np.ones((2, 32), np.float32)}
    np.testing.assert_allclose(run(model, sample)["y"], sample["x"] @ weight, atol=0.02)


def test_leaves_what_onnx_does_not_define_in_the_type_and_what_sets_its_own():
    text = """(float[4,4] x) => (float[4] y, float[4,4] z) {
    y = ConstantOfShape <value = float[1] {2}> (s) z = EyeLike<dtype = 1>(x)}"""
    text = text.replace("{\n", "<int64[1] s = {4}> {\n", 1)
    assert_leaves(LowerFloatPrecision(), text, because=None)


def test_leaves_islands():
    text = "(float[2] x) => (float[2] y) {y = Exp(x)}"
    assert_leaves(LowerFloatPrecision(islands={"y": "asked for"}), text, because="asked for")


def test_another_type_is_refused():
    with pytest.raises(UsageError, match="'float8' is no float type of 16 bits"):
        LowerFloatPrecision("float8")(model_from("(float[2] x) => (float[2] y) {y = Exp(x)}"))  # type: ignore[arg-type]


@pytest.mark.parametrize("between_casts", [False, True])
def test_numbers_in_any_surroundings(between_casts):
    def build(around: Surroundings) -> None:
        first = around.op(around.choose("Tanh", "Sigmoid", "Identity"), around.input(2, 3))
        second = around.op("Add", first, around.constant(np.array([0.5, -2.0, 1.0], np.float32)))
        around.op("Softmax", around.op("Concat", first, second, axis=0))

    class Half(LowerFloatPrecision):
        def __call__(self, model, target=None):
            islands = {node.outputs[0].name: "every Add" for node in model.graph if node.op_type == "Add"}
            return LowerFloatPrecision("float16", islands, between_casts)(model)

    check_surroundings(Half(), build, tolerance=HALF, least_hits=0.9)


def test_without_casts_there_is_no_float32_left_but_at_the_edges():
    model = model_from("(float[2] x) => (float[2] y) {a = Neg(x) b = Abs(a) y = Tanh(b)}")
    LowerFloatPrecision("bfloat16")(model)
    kinds = {element_type(value).name for node in model.graph for value in node.outputs if not value.is_graph_output()}
    assert kinds == {"BFLOAT16"}
