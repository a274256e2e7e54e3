import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.graph import attribute, is_op
from npuopt.passes.quantize.fold_running_sum_scale import FoldRunningSumScale
from support.rewrites import assert_leaves, assert_rewrites, model_from

DIVIDE = FoldRunningSumScale(scales={"s": 16})

TEXT = """(float[1,2,4] x, float[1,2,4] a, float[1,2,4] b) => (float[1,2,4] y)
    <float[4] g = {1, 2, 3, 4}, float[4] h = {5, 1, 1, -6}, float[4] f = {1, 1, 1, 1}>
    {p = RMSNormalization<axis=-1>(a, g) s = Add(x, p) n = RMSNormalization<axis=-1, epsilon=0.5>(s, f) m = Mul(n, b)
    q = RMSNormalization<axis=-1>(m, h) t = Add(s, q) y = RMSNormalization<axis=-1>(t, f)}"""


def test_terms_and_epsilons_are_divided():
    model = model_from(TEXT)
    report = assert_rewrites(DIVIDE, model, None, tolerance=1e-6)
    assert "3 terms divided by 16" in report.changed[0].text
    by_output = {node.outputs[0].name: node for node in model.graph}
    assert by_output["p"].inputs[1].const_value.numpy().tolist() == [1 / 16, 2 / 16, 3 / 16, 4 / 16]
    assert attribute(by_output["n"], "epsilon", 0.0) == 0.5 / 256
    assert attribute(by_output["y"], "epsilon", 0.0) == pytest.approx(1e-5 / 256), "what ONNX adds unasked, too"
    assert attribute(by_output["q"], "epsilon", 1e-5) == pytest.approx(1e-5), "it reads no sum"
    assert sum(is_op(node, "Mul") for node in model.graph) == 2, "x is no normalization's, and is divided by itself"


def test_normalizations_with_a_mean_and_a_bias():
    text = """(float[1,4] x, float[1,4] a) => (float[1,4] y)
        <float[4] g = {1, 2, 3, 4}, float[4] c = {-1, 0, 2, 1}, float[4] f = {1, 1, 1, 1}>
        {r = Relu(x) p = LayerNormalization(a, g, c) s = Add(r, p) n = LayerNormalization(s, f) t = Add(s, r)
        z = LayerNormalization(t, f) y = Add(n, z)}"""
    assert_rewrites(DIVIDE, text, None, tolerance=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "because"),
    [
        ("m = Mul(n, b)", "r = Relu(s) m = Mul(n, r)", "Relu"),
        ("=> (float[1,2,4] y)", "=> (float[1,2,4] y, float[1,2,4] t)", "t is a graph output"),
    ],
)
def test_sums_that_somebody_else_sees_stay(old, new, because):
    assert_leaves(DIVIDE, TEXT.replace(old, new), because=because)


def test_without_a_factor_nothing_happens():
    assert_leaves(FoldRunningSumScale(), TEXT, because=None)


@pytest.mark.parametrize("factor", [3, 0, -2, float("nan"), "16"])
def test_only_powers_of_two_round_nothing(factor):
    with pytest.raises(InputError, match="no power of two"):
        FoldRunningSumScale(scales={"s": factor})(model_from(TEXT))


def test_halves_of_great_sums_are_the_same_to_the_last_bit():
    numbers = np.random.default_rng(0).normal(0, 1e5, 64).astype(np.float32)
    assert ((numbers / 16).astype(np.float64) * 16 == numbers).all()
