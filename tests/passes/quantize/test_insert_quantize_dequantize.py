import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.graph import infer_shapes, to_text
from npuopt.graph.execution import Session
from npuopt.passes.quantize.insert_quantize_dequantize import InsertQuantizeDequantize
from npuopt.quantization import Encoding, Encodings, MinMax, calibrate, encodings_for, open_samples
from support.integer_chip import integer_chip
from support.rewrites import assert_leaves, assert_rewrites, model_from


def insert(uses=None, **tensors):
    return InsertQuantizeDequantize(encodings=Encodings(tensors=tensors, uses=uses or {}))


def byte(scale, zero_point=0, **fields):
    return Encoding(dtype="uint8", scale=scale, zero_point=zero_point, **fields)


def signed(scale, **fields):
    return Encoding(dtype="int8", scale=scale, zero_point=0, **fields)


def test_an_activation_is_held_once_for_all_its_readers():
    assert_rewrites(
        insert(h=byte(0.5, 7)),
        "(float[4] x) => (float[4] y, float[4] z) {h = Neg(x) y = Abs(h) z = Relu(h)}",
        """(float[4] x) => (float[4] y, float[4] z) <float s = {0.5}, uint8 p = {7}>
        {h = Neg(x) q = QuantizeLinear(h, s, p) d = DequantizeLinear(q, s, p) y = Abs(d) z = Relu(d)}""",
        tolerance=0.5,
    )


def test_graph_inputs_and_outputs_stay_float_at_the_edge():
    assert_rewrites(
        insert(x=byte(0.25, 128), y=byte(0.5, 128)),
        "(float[4] x) => (float[4] y) {y = Neg(x)}",
        """(float[4] x) => (float[4] y) <float s = {0.25}, float t = {0.5}, uint8 p = {128}, uint8 o = {128}>
        {q = QuantizeLinear(x, s, p) d = DequantizeLinear(q, s, p) n = Neg(d)
         r = QuantizeLinear(n, t, o) y = DequantizeLinear(r, t, o)}""",
        tolerance=0.5,
    )


def test_equal_encodings_have_their_scale_in_common():
    assert_rewrites(
        insert(x=byte(0.5), y=byte(0.5)),
        "(float[4] x) => (float[4] y) {y = Abs(x)}",
        """(float[4] x) => (float[4] y) <float s = {0.5}, uint8 p = {0}>
        {q = QuantizeLinear(x, s, p) d = DequantizeLinear(q, s, p) n = Abs(d)
         r = QuantizeLinear(n, s, p) y = DequantizeLinear(r, s, p)}""",
        feeds={"x": np.array([0, 1, 2, 127.5], np.float32)},
        seeds=[0],
    )


def test_an_output_that_is_read_inside_too_is_held_once():
    assert_rewrites(
        insert(h=byte(0.5)),
        "(float[4] x) => (float[4] h, float[4] y) {h = Abs(x) y = Neg(h)}",
        """(float[4] x) => (float[4] h, float[4] y) <float s = {0.5}, uint8 p = {0}>
        {a = Abs(x) q = QuantizeLinear(a, s, p) h = DequantizeLinear(q, s, p) y = Neg(h)}""",
        tolerance=0.5,
    )


def test_weights_become_integers_by_channel():
    assert_rewrites(
        insert(w=signed((0.5, 0.25), axis=1)),
        "(float[1,2] x) => (float[1,2] y) <float[2,2] w = {1, -1, 0.5, 0.3}> {y = MatMul(x, w)}",
        """(float[1,2] x) => (float[1,2] y) <int8[2,2] q = {2, -4, 1, 1}, float[2] s = {0.5, 0.25}, int8[2] p = {0, 0}>
        {w = DequantizeLinear<axis=1>(q, s, p) y = MatMul(x, w)}""",
        tolerance=0.1,
    )


def test_a_constant_read_in_two_encodings_is_held_twice():
    assert_rewrites(
        insert(uses={"z": {1: signed(1.0)}}, w=signed(0.5)),
        """(float[2,2] x) => (float[2,2] y, float[2,2] z, float[2,2] v) <float[2,2] w = {1, -1, 2, 0}>
        {y = MatMul(x, w) z = MatMul(x, w) v = MatMul(w, x)}""",
        """(float[2,2] x) => (float[2,2] y, float[2,2] z, float[2,2] v)
        <int8[2,2] a = {2, -2, 4, 0}, float s = {0.5}, int8 p = {0},
         int8[2,2] b = {1, -1, 2, 0}, float t = {1}, int8 o = {0}>
        {w = DequantizeLinear(a, s, p) u = DequantizeLinear(b, t, o)
         y = MatMul(x, w) z = MatMul(x, u) v = MatMul(w, x)}""",
    )


def test_a_tied_table_that_agrees_is_held_once():
    report = assert_rewrites(
        insert(t=signed(1.0), e=signed(1.0)),
        """(int64[2] i) => (float[2,3] y) <float[3,2] t = {0,1,2,3,4,-5}>
        {e = Gather<axis=0>(t, i) y = Gemm<transB=1>(e, t)}""",
        None,
        ranges={"i": (0, 3)},
        tolerance=0,
    )
    assert [entry.node for entry in report.changed] == ["e", "t"]


def test_one_use_reads_through_a_conversion():
    assert_rewrites(
        insert(uses={"y": {1: byte(0.5)}}, h=Encoding(dtype="uint16", scale=0.25, zero_point=0)),
        "(float[4] x) => (float[4] y) {h = Abs(x) y = Add(h, h)}",
        """(float[4] x) => (float[4] y) <float s = {0.25}, uint16 p = {0}, float t = {0.5}, uint8 o = {0}>
        {h = Abs(x) q = QuantizeLinear(h, s, p) d = DequantizeLinear(q, s, p)
         r = QuantizeLinear(d, t, o) e = DequantizeLinear(r, t, o) y = Add(d, e)}""",
        tolerance=0.5,
    )


def test_a_conversion_ahead_of_a_graph_output_finds_its_node():
    assert_rewrites(
        insert(uses={"y": {0: byte(0.5)}}, h=byte(0.25), y=byte(0.5)),
        "(float[4] x) => (float[4] y) {h = Abs(x) y = Relu(h)}",
        """(float[4] x) => (float[4] y) <float s = {0.25}, uint8 p = {0}, float t = {0.5}, uint8 o = {0}>
        {h = Abs(x) q = QuantizeLinear(h, s, p) d = DequantizeLinear(q, s, p)
         r = QuantizeLinear(d, t, o) e = DequantizeLinear(r, t, o) u = Relu(e)
         v = QuantizeLinear(u, t, o) y = DequantizeLinear(v, t, o)}""",
        tolerance=0.5,
    )


def test_bounds_stay_float_though_their_constant_is_data_elsewhere():
    assert_rewrites(
        insert(c=byte(2.0)),
        "(float[2] x) => (float[2] y, float[2] z) <float c = {6}> {y = Clip(x, , c) z = Mul(x, c)}",
        """(float[2] x) => (float[2] y, float[2] z) <float c = {6}, uint8 q = {3}, float s = {2}, uint8 p = {0}>
        {y = Clip(x, , c) d = DequantizeLinear(q, s, p) z = Mul(x, d)}""",
    )


def test_biases_are_held_in_32_bits():
    assert_rewrites(
        insert(b=Encoding(dtype="int32", scale=2.0**-20, zero_point=0)),
        "(float[1,1] x) => (float[1,1] y) <float[1,1] w = {1}, float[1] b = {1000.0}> {y = Gemm(x, w, b)}",
        """(float[1,1] x) => (float[1,1] y)
        <float[1,1] w = {1}, int32[1] q = {1048576000}, float s = {9.5367431640625e-07}, int32 p = {0}>
        {b = DequantizeLinear(q, s, p) y = Gemm(x, w, b)}""",
    )


def test_a_correction_is_added_to_the_bias_of_one_use():
    correct = InsertQuantizeDequantize(
        encodings=Encodings(
            tensors={"b": Encoding(dtype="int32", scale=0.25, zero_point=0)}, corrections={"y": {2: (0.5, -1.0)}}
        )
    )
    assert_rewrites(
        correct,
        """(float[1,1] x) => (float[1,2] y, float[1,2] z) <float[1,2] w = {1, 2}, float[2] b = {4, 8}>
        {y = Gemm(x, w, b) z = Gemm(x, w, b)}""",
        """(float[1,1] x) => (float[1,2] y, float[1,2] z)
        <float[1,2] w = {1, 2}, int32[2] p = {18, 28}, int32[2] q = {16, 32}, float s = {0.25}, int32 o = {0}>
        {b = DequantizeLinear(p, s, o) y = Gemm(x, w, b) d = DequantizeLinear(q, s, o) z = Gemm(x, w, d)}""",
        tolerance=0.2,
    )


def test_given_integers_take_the_place_of_the_nearest():
    report = assert_rewrites(
        InsertQuantizeDequantize(
            encodings=Encodings(tensors={"w": signed(0.5)}), integers={"w": np.array([[2, -3]], np.int8)}
        ),
        "(float[2,1] x) => (float[2,2] y) <float[1,2] w = {1, -1}> {y = MatMul(x, w)}",
        """(float[2,1] x) => (float[2,2] y) <int8[1,2] q = {2, -3}, float s = {0.5}, int8 p = {0}>
        {w = DequantizeLinear(q, s, p) y = MatMul(x, w)}""",
        tolerance=0.5,
    )
    assert report.notes == ["1 constants are rounded otherwise than to the nearest"]


@pytest.mark.parametrize("integers", [np.zeros((2, 1), np.int8), np.zeros((1, 2), np.int16)])
def test_given_integers_that_do_not_fit_are_refused(integers):
    model = model_from("(float[2,1] x) => (float[2,2] y) <float[1,2] w = {1, -1}> {y = MatMul(x, w)}")
    with pytest.raises(InputError, match=r"w: integers int.*constant of shape \[1, 2\] that is held in int8"):
        InsertQuantizeDequantize(encodings=Encodings(tensors={"w": signed(0.5)}), integers={"w": integers})(model)


def test_nothing_to_do_without_encodings():
    assert_leaves(InsertQuantizeDequantize(), "(float[2] x) => (float[2] y) {y = Neg(x)}", because="no encodings")
    assert_leaves(insert(), "(float[2] x) => (float[2] y) {y = Neg(x)}", because=None)


def test_tensors_that_are_quantized_already_are_left():
    text = """(float[4] x) => (float[4] y) <float s = {0.5}, uint8 p = {0}>
    {q = QuantizeLinear(x, s, p) y = DequantizeLinear(q, s, p)}"""
    assert_leaves(insert(x=byte(0.1), y=byte(0.1)), text, because=None)


def test_encodings_may_come_as_a_file(tmp_path):
    Encodings(tensors={"y": byte(0.5)}).save(tmp_path / "e.json")
    model = model_from("(float[2] x) => (float[2] y) {y = Neg(x)}")
    assert InsertQuantizeDequantize(encodings=tmp_path / "e.json")(model).changed
    assert "DequantizeLinear" in to_text(model)


def test_encodings_of_another_model_are_refused():
    with pytest.raises(InputError, match="does not have: q"):
        insert(q=byte(0.5))(model_from("(float[2] x) => (float[2] y) {y = Neg(x)}"))


NETWORK = """(int64[4] ids, float[1,4,6] past) => (float[4,5] logits, float[1,8,6] present)
<WEIGHTS, float scale = {0.4}, int64[3] cube = {1,4,6}, int64[2] flat = {4,6}>
{
    e = Gather<axis=0>(table, ids)
    n = LayerNormalization<axis=-1>(e, gain, shift)
    k = MatMul(n, wk)
    k3 = Reshape(k, cube)
    present = Concat<axis=1>(past, k3)
    kt = Transpose<perm=[0,2,1]>(present)
    q = MatMul(n, wq)
    q3 = Reshape(q, cube)
    s = MatMul(q3, kt)
    t = Mul(s, scale)
    m = Add(t, mask)
    p = Softmax<axis=-1>(m)
    o = MatMul(p, present)
    o2 = Reshape(o, flat)
    r = Add(o2, e)
    logits = Gemm(r, head, bias)
}"""


@pytest.mark.parametrize(("scheme", "least_db"), [("a16w8", 38.0), ("a8w8", 22.0)])
def test_a_small_network_stays_close_to_float(tmp_path, scheme, least_db):
    model, rng = _network(), np.random.default_rng(3)
    ids, past = rng.integers(0, 7, (16, 4)), rng.normal(0, 1, (16, 1, 4, 6)).astype(np.float32)
    np.savez(tmp_path / "s.npz", ids=ids, past=past)
    ranges = calibrate(model, open_samples(tmp_path / "s.npz", model), MinMax())
    encodings = encodings_for(model, integer_chip(), scheme, ranges)
    feeds = [{"ids": ids[i], "past": past[i]} for i in range(16)]
    session = Session(model)
    expected = [session.run(feed) for feed in feeds]
    report = InsertQuantizeDequantize(encodings=encodings)(model)
    infer_shapes(model)
    session = Session(model)
    for name in ("logits", "present"):
        want = np.stack([run[name] for run in expected])
        got = np.stack([session.run(feed)[name] for feed in feeds])
        assert 10 * np.log10((want**2).sum() / ((want - got) ** 2).sum()) > least_db
    assert not InsertQuantizeDequantize(encodings=encodings)(model).changed, "a second run finds nothing to do"
    assert {entry.op_type for entry in report.changed} == {"activation", "constant"}


def _network():
    rng = np.random.default_rng(2)
    shapes = {"table": (7, 6), "wk": (6, 6), "wq": (6, 6), "gain": (6,), "shift": (6,), "head": (6, 5), "bias": (5,)}
    weights = {name: rng.normal(0, 0.6, shape) for name, shape in shapes.items()}
    weights["mask"] = np.where(np.tri(4, 8, 4) > 0, 0.0, -1e4)
    texts = [
        f"float[{','.join(map(str, array.shape))}] {name} = {{{','.join(map(repr, array.ravel().tolist()))}}}"
        for name, array in weights.items()
    ]
    return model_from(NETWORK.replace("WEIGHTS", ", ".join(texts)))
