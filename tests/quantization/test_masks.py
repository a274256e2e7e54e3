"""Masks: the forms that exporters write, and what looks like one and is none."""

import pytest

from npuopt.graph import nodes
from npuopt.quantization.masks import find_masks, softmaxes_behind
from support.rewrites import model_from


def found(text):
    model = model_from(text)
    masks = find_masks(model)
    return (
        {value.name for value in masks.constants},
        {value.name: low for value, low in masks.carriers.items()},
        {value.name for value in masks.scores},
    )


def test_a_constant_that_is_added():
    text = "(float[2,2] x) => (float[2,2] y) <float[2,2] m = {0,-9999,0,0}> {s = Add(m, x) y = Softmax(s)}"
    assert found(text) == ({"m"}, {}, {"s"})


def test_a_mask_that_is_shaped_on_its_way():
    text = """(float[1,2,2] x) => (float[1,2,2] y)
    <float[4] m = {0,-9999,0,0}, int64[2] shape = {2,2}, int64[1] axes = {0}>
    {a = Reshape(m, shape) b = Unsqueeze(a, axes) s = Add(x, b) t = Identity(s) y = Softmax(t)}"""
    assert found(text) == ({"m"}, {"a": -9999, "b": -9999}, {"s", "t"})


@pytest.mark.parametrize("start", ["k = Cast<to=1>(keep)", "i = Cast<to=7>(keep) k = Cast<to=1>(i)"])
def test_a_zero_one_tensor_times_a_large_number(start):
    text = f"""(bool[2] keep, float[2] x) => (float[2] y) <float far = {{-1e9}}, float one = {{1}}>
    {{{start} gone = Sub(one, k) m = Mul(gone, far) s = Add(x, m) y = Softmax(s)}}"""
    assert found(text) == ({"far"}, {"m": -1e9}, {"s"})


def test_where_between_scores_and_a_large_number():
    text = """(bool[2] keep, float[2] x) => (float[2] y) <float far = {-1e9}>
    {s = Where(keep, x, far) y = Softmax(s)}"""
    assert found(text) == ({"far"}, {}, {"s"})


def test_where_between_two_constants_is_a_mask_still_to_be_added():
    text = """(bool[2] keep, float[2] x) => (float[2] y) <float far = {-1e9}, float zero = {0}>
    {m = Where(keep, zero, far) s = Add(x, m) y = Softmax(s)}"""
    assert found(text) == ({"far"}, {"m": -1e9}, {"s"})


def test_masks_that_are_added_up():
    text = """(bool[2] keep, float[2] x) => (float[2] y)
    <float far = {-1000}, float zero = {0}, float[2] causal = {0,-500}>
    {m = Where(keep, zero, far) both = Add(m, causal) s = Add(x, both) y = Softmax(s)}"""
    assert found(text) == ({"far", "causal"}, {"m": -1000, "both": -1500}, {"s"})


def test_a_mask_of_the_attention_op():
    text = """(float[1,1,2,2] q, float[1,1,2,2] k, float[1,1,2,2] v) => (float[1,1,2,2] y)
    <float[2,2] m = {0,-9999,0,0}> {y = Attention(q, k, v, m)}"""
    assert found(text)[0] == {"m"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            """(float[2] x) => (float[2] y, float[2] z) <float[2] m = {0,-9999}>
            {s = Add(x, m) y = Softmax(s) z = Mul(x, m)}""",
            "Mul",
        ),
        (
            "(float[2] x) => (float[2] y, float[2] s) <float[2] m = {0,-9999}> {s = Add(x, m) y = Softmax(s)}",
            "output s",
        ),
        ("(float[2] x) => (float[2] y) <float m = {-9999}> {s = Mul(x, m) y = Softmax(s)}", "Mul"),
    ],
)
def test_numbers_that_reach_something_else_are_no_masks(text, reason):
    model = model_from(text)
    masks = find_masks(model)
    assert not masks.constants
    (why,) = masks.refused.values()
    assert reason in why


def test_small_constants_are_scores():
    text = "(float[2] x) => (float[2] y) <float[2] m = {0,-50}> {s = Add(x, m) y = Softmax(s)}"
    assert found(text) == (set(), {}, set())


def test_the_softmax_behind_masked_scores_is_found_through_moves():
    model = model_from(
        """(float[2,2] x) => (float[2,2] y) <float[2,2] m = {0,-9999,0,0}>
        {s = Add(m, x) t = Transpose(s) y = Softmax(t)}"""
    )
    (add,) = nodes(model, "Add")
    ((softmax, read),) = softmaxes_behind(add.outputs[0])
    assert (softmax.op_type, read.name) == ("Softmax", "t")
