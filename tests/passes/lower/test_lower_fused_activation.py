import numpy as np
import pytest

from npuopt.passes.lower.lower_fused_activation import LowerFusedActivation
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'
CONV = f"{HEADER} (float[1, 2, 5, 5] x, float[3, 2, 3, 3] w, float[3] b, float[1, 3, 3, 3] z) => (float[1, 3, 3, 3] y)"


def test_a_convolution_with_a_summand():
    assert_rewrites(
        LowerFusedActivation(),
        f'{CONV} {{y = com.microsoft.FusedConv<activation = "Relu", kernel_shape = [3, 3]>(x, w, b, z)}}',
        f"{CONV} {{c = Conv<kernel_shape = [3, 3]>(x, w, b) s = Add(c, z) y = Relu(s)}}",
    )


@pytest.mark.parametrize(
    "activation",
    [
        'activation = "LeakyRelu", activation_params = [0.5]',
        'activation = "Clip", activation_params = [-0.5, 0.75]',
        'activation = "HardSigmoid", activation_params = [0.3, 0.4]',
        'activation = "Tanh"',
        'activation = "Sigmoid"',
    ],
)
def test_other_activations(activation):
    assert_rewrites(LowerFusedActivation(), f"{CONV} {{y = com.microsoft.FusedConv<{activation}>(x, w)}}", None)


@pytest.mark.parametrize(
    "attributes",
    [
        'activation = "Relu", transB = 1, alpha = 0.5, beta = 2.0',
        'activation = "LeakyRelu", activation_alpha = 0.5, transB = 1',
    ],
)
def test_a_gemm(attributes):
    signature = f"{HEADER} (float[2, 3] a, float[4, 3] b, float[4] c) => (float[2, 4] y)"
    text = f"{signature} {{y = com.microsoft.FusedGemm<{attributes}>(a, b, c)}}"
    assert_rewrites(LowerFusedActivation(), text, None)


def test_leaves_other_activations():
    text = f'{CONV} {{y = com.microsoft.FusedConv<activation = "Mish">(x, w)}}'
    assert_leaves(LowerFusedActivation(), text, because="activation Mish is not known")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 4, 4))
        weight = around.constant(np.random.default_rng(0).normal(size=(3, 2, 2, 2)).astype("f"))
        made = around.op(
            "FusedConv",
            x,
            weight,
            domain="com.microsoft",
            company=False,
            activation=around.choose("Relu", "Sigmoid", "Tanh"),
            strides=around.choose([1, 1], [2, 2]),
            pads=[1, 0, 0, 1],
        )
        rows = 2 if list(around.nodes[-1].attribute[-1].ints) == [2, 2] else 4
        around.op("Neg", around.declare(made, 1, 3, rows, rows))

    check_surroundings(LowerFusedActivation(), build, least_hits=0.9)
