# no assert_rewrites: it changes the types of inputs and outputs, which the graph that it is compared with has not

import numpy as np
import pytest

from npuopt.decoder import Decoder, Layer
from npuopt.graph import DataType, Session, element_type, nodes
from npuopt.passes.freeze.freeze_key_value_cache import FreezeKeyValueCache
from npuopt.passes.quantize.insert_integer_cache import InsertIntegerCache
from npuopt.quantization.arithmetic import STORAGE, dequantize, quantize
from npuopt.quantization.encodings import Encoding, per_tensor
from support.rewrites import assert_leaves, model_from

CONTEXT, HEADS, SIZE = 8, 2, 4
GRAPH = """(float[1,2,new,4] q, float[1,2,new,4] k, float[1,2,new,4] v, float[1,1,new,total] m,
    float[1,2,past,4] past_k, float[1,2,past,4] past_v)
    => (float[1,2,new,4] y, float[A,B,C,D] k_all, float[A,B,E,D] v_all)
    { y, k_all, v_all = Attention(q, k, v, m, past_k, past_v) }"""
LAYER = Layer("y", "m", "k", "v", "past_k", "past_v", "k_all", "v_all", HEADS, HEADS, SIZE, SIZE, None)
DRAW = np.random.default_rng(0)
CACHES = {"past_k": "k_all", "past_v": "v_all"}
WAYS = {
    "tensor": per_tensor("uint8", 0.03, 120),
    "head": Encoding(dtype="uint8", scale=(0.03, 0.02), zero_point=(120, 131), axis=1),
    "channel": Encoding(dtype="uint16", scale=(0.01, 0.002, 0.003, 0.004), zero_point=(9000, 30000, 2, 32768), axis=3),
}


def drawn(length):
    return DRAW.normal(size=(1, HEADS, length, SIZE)).astype(np.float32)


def frozen(form, held=None):
    model = model_from(GRAPH)
    FreezeKeyValueCache(Decoder("ids", None, "logits", 10, CONTEXT, (LAYER,), ()), form, 2, 2)(model)
    if held is not None:
        report = InsertIntegerCache(CACHES, {"past_k": held, "past_v": held})(model)
        assert [entry.text for entry in report.changed] == [f"held as {held.dtype}"] * 2
    return model


@pytest.mark.parametrize("held", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("form", ["new", "in-place", "whole"])
def test_the_graph_computes_with_what_the_integers_stand_for(form, held):
    model = frozen(form, held)
    k, v, cache = drawn(2), drawn(2), quantize(drawn(CONTEXT), held)
    places = CONTEXT + 2 * (form == "new")
    feeds = {"q": drawn(2), "mask": np.zeros((1, 1, 2, places), np.float32), "write_position": np.array([3])}
    got = Session(model).run({**feeds, "k": k, "v": v, "past_k": cache, "past_v": cache})
    rounded = {name: dequantize(quantize(new, held), held).astype(np.float32) for name, new in (("k", k), ("v", v))}
    past = dequantize(cache, held).astype(np.float32)
    expected = Session(frozen(form)).run({**feeds, **rounded, "past_k": past, "past_v": past})
    np.testing.assert_allclose(got["y"], expected["y"], atol=1e-5)
    for name in CACHES.values():
        assert got[name].dtype == STORAGE[held.dtype]
        np.testing.assert_array_equal(got[name], quantize(expected[name], held))


def test_in_place_only_what_is_new_is_rounded():
    """The cache itself is written to as integers, however long it is."""
    model = frozen("in-place", WAYS["tensor"])
    scatters = nodes(model, "TensorScatter")
    assert [element_type(node.inputs[0]) for node in scatters] == [DataType.UINT8] * 2
    assert [node.inputs[0].name for node in nodes(model, "QuantizeLinear")] == ["k", "v"]


def test_what_is_no_cache_is_left():
    held = {"x": WAYS["tensor"]}
    text = "(float[2] x) => (float[2] y) { y = Relu(x) }"
    assert_leaves(InsertIntegerCache({"x": "z"}, held), text, because="does not take it and give it back")
    text = "(uint8[2] x) => (uint8[2] y) { y = Identity(x) }"
    assert_leaves(InsertIntegerCache({"x": "y"}, held), text, because="no cache of floats")
