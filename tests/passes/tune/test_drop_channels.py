import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuopt.errors import UsageError
from npuopt.passes.tune.drop_channels import DropChannels
from support.pruning import assert_same_numbers_after, model_with, numbers, weights_read, without
from support.rewrites import assert_leaves, assert_rewrites

DROP = DropChannels(share=0.5, multiple=1)
NETWORK = """(float[1,3,6,6] x) => (float[1,5,4,4] y)
<float[8,3,3,3] a, float[8] c, float[5,8,1,1] b>
{ h = Conv<pads=[0,0,0,0]>(x, a, c) r = Relu(h) y = Conv(r, b) }"""


def test_one_of_two_channels_goes():
    assert_rewrites(
        DropChannels(share=0.5, multiple=1),
        """(float[2,3] x) => (float[2,2] y) <float[3,2] a = {1,0,2,0,3,0}, float[2,2] b = {1,2,0,0}>
        { h = MatMul(x, a) r = Relu(h) y = MatMul(r, b) }""",
        """(float[2,3] x) => (float[2,2] y) <float[3,1] a = {1,2,3}, float[1,2] b = {1,2}>
        { h = MatMul(x, a) r = Relu(h) y = MatMul(r, b) }""",
    )


def test_filters_that_nothing_reads_go_with_what_reads_them():
    gone = [1, 2, 5, 6]
    model = model_with(NETWORK, a=without(numbers(0, 8, 3, 3, 3), 0, gone), c=without(numbers(1, 8), 0, gone),
                       b=without(numbers(2, 5, 8, 1, 1), 1, gone))  # fmt: skip
    report = assert_same_numbers_after(DROP, model)
    assert weights_read(model, "Conv") == [(4, 3, 3, 3), (5, 4, 1, 1)]
    assert "8 channels -> 4" in report.changed[0].text


def test_the_least_weights_go_first():
    a, b = numbers(0, 8, 3, 3, 3), numbers(2, 5, 8, 1, 1)
    a[3] *= 0.01
    b[:, 3] *= 0.01
    model = model_with(NETWORK, a=a, c=numbers(1, 8), b=b)
    DropChannels(share=0.125, multiple=1)(model)
    kept = model.graph.node(0).inputs[1].const_value.numpy()
    np.testing.assert_array_equal(kept, np.delete(a, 3, axis=0))


def test_channels_of_a_depthwise_filter_and_of_a_sum_go_together():
    gone = [0, 3]
    text = """(float[1,3,4,4] x) => (float[1,2] y)
    <float[4,3,1,1] a, float[4,1,3,3] d, float[4] s, float[4] t, float[4] m, float[4] v, float[4,4,1,1] e,
     float[2,4] f, float[2] g>
    { p = Conv(x, a) q = Conv<group=4, pads=[1,1,1,1]>(p, d) n = BatchNormalization(q, s, t, m, v)
      c = Clip(n) z = Conv(c, e) w = Add(p, z) u = GlobalAveragePool(w) k = Flatten(u) y = Gemm<transB=1>(k, f, g) }"""
    model = model_with(
        text, a=without(numbers(0, 4, 3, 1, 1), 0, gone), d=without(numbers(1, 4, 1, 3, 3), 0, gone), s=np.ones(4),
        t=without(numbers(3, 4), 0, gone), m=without(numbers(4, 4), 0, gone), v=np.ones(4),
        e=without(without(numbers(5, 4, 4, 1, 1), 0, gone), 1, gone), f=without(numbers(6, 2, 4), 1, gone), g=[1, 2],
    )  # fmt: skip
    assert_same_numbers_after(DROP, model)
    assert weights_read(model, "Conv") == [(2, 3, 1, 1), (2, 1, 3, 3), (2, 2, 1, 1)]
    assert weights_read(model, "Gemm") == [(2, 2)]
    depthwise = next(node for node in model.graph if node.op_type == "Conv" and node.attributes.get("group"))
    assert depthwise.attributes["group"].as_int() == 2


def test_a_gate_and_what_it_lets_through_go_together():
    gone = [1, 2, 3]
    text = """(float[2,5,4] x) => (float[2,5,4] y) <float[4,6] g, float[4,6] u, float[6] c, float[6,4] d>
    { a = MatMul(x, g) b = Swish(a) e = MatMul(x, u) f = Add(e, c) h = Mul(b, f) y = MatMul(h, d) }"""
    model = model_with(
        text, g=without(numbers(0, 4, 6), 1, gone), u=without(numbers(1, 4, 6), 1, gone),
        c=without(numbers(2, 6), 0, gone), d=without(numbers(3, 6, 4), 0, gone),
    )  # fmt: skip
    assert_same_numbers_after(DROP, model)
    assert weights_read(model, "MatMul") == [(4, 3), (4, 3), (3, 4)]


@pytest.mark.parametrize(
    ("body", "because"),
    [
        ("h = MatMul(x, a) y = Relu(h)", "input or output of the model"),
        ("h = MatMul(x, a) s = Softmax(h) y = MatMul(s, b)", "mixes them"),
        ("h = MatMul(x, a) j = Concat<axis=-1>(h, x) s = Slice(j, zero, eight, one) y = MatMul(s, b)", "joins them"),
        ("h = MatMul(x, a) s = Mod<fmod=1>(h, h) y = MatMul(s, b)", "not known"),
    ],
)
def test_left_alone(body, because):
    shape = "8" if "Relu" in body else "3"
    text = f"""(float[2,4] x) => (float[2,{shape}] y)
    <float[4,8] a, float[8,3] b, int64[1] zero = {{0}}, int64[1] eight = {{8}}, int64[1] one = {{1}}> {{ {body} }}"""
    model = model_with(text, a=numbers(0, 4, 8), b=numbers(1, 8, 3))
    assert_leaves(DROP, model, because=because)


def test_what_stays_is_a_multiple():
    model = model_with(NETWORK, a=numbers(0, 8, 3, 3, 3), c=numbers(1, 8), b=numbers(2, 5, 8, 1, 1))
    assert_leaves(DropChannels(share=0.4, multiple=8), model, because="y is an input or output of the model")


def test_a_share_outside_its_range_is_refused():
    model = model_with(NETWORK, a=numbers(0, 8, 3, 3, 3), c=numbers(1, 8), b=numbers(2, 5, 8, 1, 1))
    with pytest.raises(UsageError, match=r"share 1\.0 is not"):
        DropChannels(share=1.0)(model)


MIDDLES = {
    "Relu": "m = Relu(h)",
    "bias": "m = Add(h, c)",
    "own gate": "e = Sigmoid(h) m = Mul(h, e)",
    "through axes": "t = Transpose<perm=[1,0]>(h) e = Relu(t) m = Transpose<perm=[1,0]>(e)",
    "through shapes": "t = Reshape(h, wide) e = Gelu(t) m = Reshape(e, flat)",
    "two readers": "k = Relu(h) n = Neg(h) m = Add(k, n)",
}


@settings(max_examples=40, deadline=None)
@given(
    middle=st.sampled_from(sorted(MIDDLES)),
    gone=st.sets(st.integers(0, 5), min_size=3, max_size=3),
    seed=st.integers(0, 99),
)
def test_units_that_carry_nothing_can_always_go(middle, gone, seed):
    text = f"""(float[4,3] x) => (float[4,2] y)
    <float[3,6] a, float[6] c, float[6,2] b, int64[4] wide = {{2,2,1,6}}, int64[2] flat = {{4,6}}>
    {{ h = MatMul(x, a) {MIDDLES[middle]} y = MatMul(m, b) }}"""
    model = model_with(
        text, a=without(numbers(seed, 3, 6), 1, gone), c=without(numbers(seed + 1, 6), 0, gone),
        b=without(numbers(seed + 2, 6, 2), 0, gone),
    )  # fmt: skip
    report = assert_same_numbers_after(DROP, model)
    assert report.changed, f"every middle can be followed: {report.declined}"
    assert weights_read(model, "MatMul") == [(3, 3), (3, 2)]
