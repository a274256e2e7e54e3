from dataclasses import dataclass

import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.passes.quantize.move_channel_scales import MoveChannelScales
from npuopt.quantization.channels.joints import joints
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import check_surroundings

NORMALIZED = """(float[2,3] x) => (float[2,2] y) <float[3] g = {{{g}}}, float[3,2] w = {{{w}}}>
    {{h = RMSNormalization<axis=-1>(x, g) y = MatMul(h, w)}}"""


def test_from_a_normalization_into_the_products_that_read_it():
    assert_rewrites(
        MoveChannelScales({"h": (2.0, 1.0, 0.5)}),
        NORMALIZED.format(g="1,1,4", w="1,2,3,4,5,6"),
        NORMALIZED.format(g="0.5,1,8", w="2,4,3,4,2.5,3"),
        tolerance=0,
    )


def test_a_shift_of_a_normalization_is_divided_too():
    assert_rewrites(
        MoveChannelScales({"h": (2.0, 4.0)}),
        """(float[3,2] x) => (float[3,1] y, float[3,1] z) <float[2] g = {1,2}, float[2] b = {3,4},
        float[2,1] v = {1,1}, float[1,2] w = {1,-1}>
        {h = LayerNormalization(x, g, b) y = MatMul(h, v) z = Gemm<transB=1>(h, w)}""",
        """(float[3,2] x) => (float[3,1] y, float[3,1] z) <float[2] g = {0.5,0.5}, float[2] b = {1.5,1},
        float[2,1] v = {2,4}, float[1,2] w = {2,-4}>
        {h = LayerNormalization(x, g, b) y = MatMul(h, v) z = Gemm<transB=1>(h, w)}""",
        tolerance=0,
    )


def test_through_relu_bias_and_pooling_from_one_convolution_to_the_next():
    graph = """(float[1,1,4,4] x) => (float[1,1,2,2] y) <float[2,1,1,1] v = {{{v}}}, float[2] b = {{{b}}},
        float[2,1,1] c = {{{c}}}, float[1,2,1,1] w = {{{w}}}>
        {{a = Conv(x, v, b) d = Add(a, c) e = Relu(d)
        f = MaxPool<kernel_shape=[2,2], strides=[2,2]>(e) y = Conv(f, w)}}"""
    assert_rewrites(
        MoveChannelScales({"a": (2.0, 0.5)}),
        graph.format(v="2,3", b="1,1", c="4,5", w="1,1"),
        graph.format(v="1,6", b="0.5,2", c="2,10", w="2,0.5"),
        tolerance=0,
    )


def test_into_depthwise_filters_and_out_of_them():
    graph = """(float[1,1,3,3] x) => (float[1,2,3,3] y) <float[2,1,1,1] u = {{{u}}}, float[2,1,1,1] v = {{{v}}},
        float[2,2,1,1] w = {{{w}}}> {{a = Conv(x, u) b = Conv<group=2>(a, v) y = Conv(b, w)}}"""
    assert_rewrites(
        MoveChannelScales({"a": (2.0, 4.0), "b": (0.5, 1.0)}),
        graph.format(u="2,4", v="1,1", w="1,2,3,4"),
        graph.format(u="1,1", v="4,4", w="0.5,2,1.5,4"),
        tolerance=0,
    )


def test_through_a_product_with_another_tensor():
    assert_rewrites(
        MoveChannelScales({"up": (2.0, 4.0)}),
        """(float[3,1] x, float[3,2] gate) => (float[3,1] y) <float[1,2] u = {1,2}, float[2,1] d = {1,1}>
        {up = MatMul(x, u) h = Mul(gate, up) y = MatMul(h, d)}""",
        """(float[3,1] x, float[3,2] gate) => (float[3,1] y) <float[1,2] u = {0.5,0.5}, float[2,1] d = {2,4}>
        {up = MatMul(x, u) h = Mul(gate, up) y = MatMul(h, d)}""",
        tolerance=0,
    )


def test_through_attention_with_several_query_heads_for_each_value_head():
    rng = np.random.default_rng(0)
    weights = {"v": rng.normal(size=(8, 4)), "o": rng.normal(size=(8, 8))}
    constants = ", ".join(
        f"float[{','.join(map(str, array.shape))}] {name} = {{{','.join(map(str, array.ravel().round(3)))}}}"
        for name, array in weights.items()
    )
    report = assert_rewrites(
        MoveChannelScales({"made": (2.0, 4.0, 0.5, 1.0)}),
        f"""(float[1,3,8] x, float[1,2,6,3] probabilities) => (float[1,3,8] y) <{constants},
        int64[4] heads = {{1,3,2,2}}, int64[4] apart = {{1,4,3,2}}, int64[3] flat = {{1,3,8}}>
        {{made = MatMul(x, v) split = Reshape(made, heads) values = Transpose<perm=[0,2,1,3]>(split)
        mixed = MatMul(probabilities, values) by_head = Reshape(mixed, apart)
        back = Transpose<perm=[0,2,1,3]>(by_head) joined = Reshape(back, flat) y = MatMul(joined, o)}}""",
        None,
    )
    assert "factors 0.5 to 4 into 1 readers" in report.changed[0].text


def test_short_scales_that_several_normalizations_have_in_common_are_copied():
    text = """(float[2,2] x) => (float[2,1] y, float[2,1] z) <float[2] g = {1,1}, float[2,1] v = {1,1},
        float[2,1] w = {1,1}>
        {h = RMSNormalization<axis=-1>(x, g) y = MatMul(h, v) i = RMSNormalization<axis=-1>(x, g) z = MatMul(i, w)}"""
    model = model_from(text)
    report = assert_rewrites(MoveChannelScales({"h": (2.0, 1.0)}), model, None, tolerance=0)
    assert len(report.changed) == 1
    assert "g" in model.graph.initializers


LINEAR = "(float[2,2] x) => (float[2,2] y) <float[2,2] u = {1,2,3,4}, float[2,2] w = {1,2,3,4}>"


@pytest.mark.parametrize(
    ("body", "because"),
    [
        ("{h = MatMul(x, u) t = Tanh(h) y = MatMul(t, w)}", None),
        ("{h = MatMul(x, u) t = Tanh(h) m = MatMul(h, w) y = Add(m, t)}", "Tanh) does not let factors"),
        ("{h = MatMul(x, u) m = MatMul(h, w) y = Add(m, h)}", "Add) does not let factors"),
        ("{h = MatMul(x, u) y = MatMul(h, u)}", "u is read elsewhere too"),
        ("{h = MatMul(x, u) t = Transpose(h) y = MatMul(t, w)}", None),
        ("{h = MatMul(x, u) s = Mul(h, h) y = MatMul(s, w)}", None),
        ("{h = MatMul(x, u) n = Neg(h) s = Mul(h, n) m = MatMul(n, w) y = Add(m, s)}", "does not let factors"),
    ],
)
def test_left_alone(body, because):
    if because is None:
        because = "no linear layer reads its channels"
    assert_leaves(MoveChannelScales({"h": (2.0, 4.0)}), LINEAR + body, because=because)


def test_left_alone_at_graph_outputs():
    text = LINEAR.replace("=> (", "=> (float[2,2] h, ") + "{h = MatMul(x, u) y = MatMul(h, w)}"
    assert_leaves(MoveChannelScales({"h": (2.0, 4.0)}), text, because="h is a graph output")


def test_left_alone_where_one_number_is_added_to_several_channels():
    text = (
        LINEAR.replace("<", "<float[1] k = {3}, ") + "{h = MatMul(x, u) a = Add(h, k) m = MatMul(h, w) y = Add(m, a)}"
    )
    assert_leaves(MoveChannelScales({"h": (2.0, 4.0)}), text, because="does not let factors")


def test_without_factors_nothing_is_moved():
    assert_leaves(MoveChannelScales(), NORMALIZED.format(g="1,1,4", w="1,2,3,4,5,6"), because=None)


@pytest.mark.parametrize(
    ("factors", "what"),
    [
        ((1.0, 2.0), "2 factors were given for 3 channels"),
        ((1.0, 0.0, 1.0), "not a positive"),
        ((1.0, np.inf, 1.0), "not a"),
    ],
)
def test_factors_must_fit(factors, what):
    with pytest.raises(InputError, match=what):
        MoveChannelScales({"h": factors})(model_from(NORMALIZED.format(g="1,1,4", w="1,2,3,4,5,6")))


@dataclass(frozen=True)
class MoveEverything(MoveChannelScales):
    """Moves drawn factors out of whatever has channels."""

    def __call__(self, model, target=None):
        rng = np.random.default_rng(0)
        scales = {joint.name: np.exp(rng.normal(size=joint.count)) for joint in joints(model)}
        return MoveChannelScales(scales)(model, target)


def test_whatever_surrounds_a_joint_keeps_its_numbers():
    def build(around):
        x = around.input(2, 4)
        weights = [np.random.default_rng(seed).normal(size=(4, 4)).astype(np.float32) for seed in range(3)]
        start = around.choose("product", "normalization")
        if start == "product":
            made = around.op("MatMul", x, around.constant(weights[0]))
        else:
            made = around.op("RMSNormalization", x, around.constant(weights[0][0]), axis=-1)
        for op in (around.choose("", "Relu", "Neg"), around.choose("", "Add", "Mul", "Reshape")):
            if op in ("Add", "Mul"):
                made = around.op(op, made, around.constant(weights[1][around.choose(0, 1)]))
            elif op == "Reshape":
                made = around.op(op, made, around.constant(np.array([2, 1, 4], np.int64), varies=False))
            elif op:
                made = around.op(op, made)
        around.op("MatMul", made, around.constant(weights[2]))

    check_surroundings(MoveEverything(), build, examples=60, least_hits=0.15)
