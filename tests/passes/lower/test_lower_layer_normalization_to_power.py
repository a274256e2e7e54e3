import numpy as np

from npuopt.passes.lower.lower_layer_normalization_to_power import LowerLayerNormalizationToPower
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[N, 4, 8] x, float[8] s, float[8] b) => (float[N, 4, 8] y)"


def test_becomes_means_a_power_and_products():
    assert_rewrites(
        LowerLayerNormalizationToPower(),
        f"{SIGNATURE} {{y = LayerNormalization<epsilon = 0.001>(x, s, b)}}",
        f"""{SIGNATURE} <int64[1] axes = {{2}}, float epsilon = {{0.001}}, float half = {{-0.5}}> {{
            m = ReduceMean<keepdims = 1>(x, axes) c = Sub(x, m) q = Mul(c, c) v = ReduceMean<keepdims = 1>(q, axes)
            e = Add(v, epsilon) f = Pow(e, half) n = Mul(c, f) t = Mul(n, s) y = Add(t, b)
        }}""",
    )


def test_several_axes_and_no_bias():
    text = "(float[2, 3, 4] x, float[3, 4] s) => (float[2, 3, 4] y) {y = LayerNormalization<axis = -2>(x, s)}"
    assert_rewrites(LowerLayerNormalizationToPower(), text, None)


def test_leaves_half_precision():
    text = "(float16[2, 8] x, float16[8] s) => (float16[2, 8] y) {y = LayerNormalization(x, s)}"
    assert_leaves(LowerLayerNormalizationToPower(), text, because="half precision")


def test_leaves_a_node_whose_mean_is_read():
    text = "(float[2, 8] x, float[8] s) => (float[2, 8] y, float[2, 1] m) {y, m = LayerNormalization(x, s)}"
    assert_leaves(LowerLayerNormalizationToPower(), text, because="more than its first output is read")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        axis = around.choose(-1, 1, -2)
        shape = (4,) if axis == -1 else (3, 4)
        generator = np.random.default_rng(0)
        scale, bias = (around.constant(generator.normal(size=shape).astype("f")) for _ in range(2))
        x = around.op("Neg", around.input(2, 3, 4))
        around.op("LayerNormalization", x, scale, bias, axis=axis, epsilon=around.choose(1e-5, 0.1))

    check_surroundings(LowerLayerNormalizationToPower(), build, least_hits=0.9)
