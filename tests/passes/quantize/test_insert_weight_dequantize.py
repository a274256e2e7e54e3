import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.graph import Editor, Session, load, nodes, save
from npuopt.passes.quantize.insert_weight_dequantize import InsertWeightDequantize
from npuopt.quantization import Encodings
from npuopt.quantization.block_encodings import BlockEncoding
from npuopt.quantization.blocks import Rounding, block_values, round_blocks
from support.rewrites import assert_leaves, assert_rewrites, model_from

PRODUCT = """(float[2,4] x) => (float[2,3] y)
<float[4,3] w = {-127, 2, 4, 1, 127, -254, 0, 1.5, 6, 63.5, 127, 127}> {y = MatMul(x, w)}"""
TABLE = """(int64[2] i, float[1,4] x) => (float[2,4] r, float[1,3] y)
<float[3,4] t = {127, 1, -2, 0, 254, -2, 4, 8, 0, 0, 1, 127}>
{r = Gather(t, i) u = Transpose<perm = [1, 0]>(t) y = MatMul(x, u)}"""


def hold(rounding: Rounding = "nearest", **blocks: BlockEncoding) -> InsertWeightDequantize:
    return InsertWeightDequantize(encodings=Encodings(tensors={}, blocks=blocks), rounding=rounding)


def product_of(weight):
    """A product with a weight that is too large for text."""
    features, channels = weight.shape
    kind = {"float32": "float", "float16": "float16"}[weight.dtype.name]
    zeros = f"float[{features},{channels}] w = {{{', '.join(['0'] * weight.size)}}}"
    model = model_from(f"({kind}[3,{features}] x) => ({kind}[3,{channels}] y) <{zeros}> {{y = MatMul(x, w)}}")
    edit = Editor(model)
    old = model.graph.initializers.pop("w")
    new = edit.constant(weight, near=model.graph[0], name="weight")
    edit.replace(old, new)
    return model


def test_weights_in_blocks_get_a_scale_for_each():
    assert_rewrites(
        hold(w=BlockEncoding(dtype="int8", axis=0, block=2)),
        PRODUCT,
        """(float[2,4] x) => (float[2,3] y)
        <int8[4,3] q = {-127, 2, 2, 1, 127, -127, 0, 2, 6, 127, 127, 127},
         float[2,3] s = {1, 1, 2, 0.5, 1, 1}, int8[2,3] z = {0, 0, 0, 0, 0, 0}>
        {w = DequantizeLinear<axis = 0, block_size = 2>(q, s, z) y = MatMul(x, w)}""",
        tolerance=0.02,
    )


@pytest.mark.parametrize(("dtype", "inputs"), [("int4", 2), ("uint4", 3), ("int8", 3), ("uint8", 3)])
def test_symmetric_weights_have_zero_points_where_the_runtime_needs_them(dtype, inputs):
    """Without, its optimizer makes the zero point of signed bytes a scalar that its kernel refuses."""
    model = product_of(np.ones((32, 4), np.float32))
    hold(weight=BlockEncoding(dtype=dtype, axis=0, block=16))(model)
    (dequantize,) = nodes(model, "DequantizeLinear")
    assert len(dequantize.inputs) == inputs
    for optimize in (False, True):
        made = Session(model, optimize=optimize).run({"x": np.ones((3, 32), np.float32)})["y"]
        np.testing.assert_allclose(made, 32, rtol=0.01)


def test_asymmetric_weights_have_a_zero_point_for_each_block():
    assert_rewrites(
        hold(w=BlockEncoding(dtype="uint8", axis=0, block=2, symmetric=False)),
        "(float[2,4] x) => (float[2,1] y) <float[4,1] w = {0, 255, -3, 252}> {y = MatMul(x, w)}",
        """(float[2,4] x) => (float[2,1] y)
        <uint8[4,1] q = {0, 255, 0, 255}, float[2,1] s = {1, 1}, uint8[2,1] z = {0, 3}>
        {w = DequantizeLinear<axis = 0, block_size = 2>(q, s, z) y = MatMul(x, w)}""",
    )


def test_a_tied_embedding_is_held_once_for_both_its_uses():
    assert_rewrites(
        hold(t=BlockEncoding(dtype="int8", axis=1, block=4)),
        TABLE,
        """(int64[2] i, float[1,4] x) => (float[2,4] r, float[1,3] y)
        <int8[3,4] q = {127, 1, -2, 0, 127, -1, 2, 4, 0, 0, 1, 127}, float[3,1] s = {1, 2, 1}, int8[3,1] z = {0, 0, 0}>
        {t = DequantizeLinear<axis = 1, block_size = 4>(q, s, z)
         r = Gather(t, i) u = Transpose<perm = [1, 0]>(t) y = MatMul(x, u)}""",
        feeds={"i": np.array([2, 0]), "x": np.ones((1, 4), np.float32)},
        seeds=[0],
    )


def test_filters_have_a_scale_for_each_output_channel():
    assert_rewrites(
        hold(w=BlockEncoding(dtype="int8", axis=0)),
        """(float[1,1,3,3] x) => (float[1,2,3,3] y)
        <float[2,1,1,1] w = {127, 254}> {y = Conv(x, w)}""",
        """(float[1,1,3,3] x) => (float[1,2,3,3] y)
        <int8[2,1,1,1] q = {127, 127}, float[2] s = {1, 2}, int8[2] z = {0, 0}>
        {w = DequantizeLinear<axis = 0>(q, s, z) y = Conv(x, w)}""",
    )


def test_weights_without_an_entry_stay():
    assert_leaves(hold(), PRODUCT, because=None)
    assert "no encodings were given" in InsertWeightDequantize()(model_from(PRODUCT)).notes[0]
    left = InsertWeightDequantize(encodings=Encodings(tensors={}), left={"w": "Softmax reads it too"})
    assert_leaves(left, PRODUCT, because="Softmax reads it too")


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"v": BlockEncoding(dtype="int4", axis=0)}, "a tensor that the model does not have: v"),
        ({"x": BlockEncoding(dtype="int4", axis=0)}, "only constants"),
        ({"w": BlockEncoding(dtype="int4", axis=2)}, "axis 2 of a tensor of rank 2"),
    ],
)
def test_entries_that_do_not_fit_are_refused(entry, complaint):
    with pytest.raises(InputError, match=complaint):
        hold(**entry)(model_from(PRODUCT))


def test_weights_that_are_no_numbers_are_refused_by_name():
    model = product_of(np.full((4, 3), np.nan, np.float32))
    with pytest.raises(InputError, match=r"weight: the weight holds NaN"):
        hold(weight=BlockEncoding(dtype="int4", axis=0))(model)


@pytest.mark.parametrize(
    "held",
    [
        BlockEncoding(dtype="int4", axis=0, block=32),
        BlockEncoding(dtype="uint4", axis=0, block=16, symmetric=False),
        BlockEncoding(dtype="int8", axis=0, block=32),
        BlockEncoding(dtype="uint8", axis=0, block=64),
        BlockEncoding(dtype="int4", axis=1),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["float", "float16"])
def test_what_the_runtime_computes_is_what_was_rounded(held, kind, tmp_path):
    draw = np.random.default_rng(0)
    array = draw.standard_normal((80, 24)).astype("float16" if kind == "float16" else "float32")
    x = draw.standard_normal((3, 80)).astype(array.dtype)
    rounded = round_blocks(held.rows(array), held.format, scale_type=array.dtype)
    weight = held.like_weight(block_values(rounded, held.format), array.shape)
    model = product_of(array)
    hold("least-squares", weight=held)(model)
    save(model, tmp_path / "held.onnx")
    for optimize in (False, True):
        made = Session(load(tmp_path / "held.onnx"), optimize=optimize).run({"x": x})["y"]
        # Optimized, the runtime rounds what it multiplies with to 8 bits.
        tolerance = 0.15 if optimize else 0.02 if kind == "float16" else 1e-4
        np.testing.assert_allclose(made, x.astype(np.float32) @ weight, atol=tolerance, rtol=tolerance)


def test_weights_that_another_model_holds_are_shared():
    how = {"w": BlockEncoding(dtype="int4", axis=0, block=2)}
    first, other = model_from(PRODUCT), model_from(PRODUCT)
    hold("least-squares", **how)(first)
    InsertWeightDequantize(encodings=Encodings(tensors={}, blocks=how), held=first)(other)
    tensors = [model.graph.initializers["w/quantized"].const_value for model in (first, other)]
    assert tensors[0] is tensors[1]
    feeds = {"x": np.arange(8, dtype=np.float32).reshape(2, 4)}
    np.testing.assert_array_equal(Session(other).run(feeds)["y"], Session(first).run(feeds)["y"])
