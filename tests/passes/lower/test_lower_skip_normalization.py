import numpy as np
import pytest

from npuopt.passes.lower.lower_skip_normalization import LowerSkipNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'
SIGNATURE = f"""{HEADER} (float[2, 3, 4] x, float[2, 3, 4] z, float[4] g, float[4] o, float[4] b) => (float[2, 3, 4] y,
    float[2, 3, 4] s)"""


def test_a_sum_is_normalized_and_read_too():
    assert_rewrites(
        LowerSkipNormalization(),
        f"{SIGNATURE} {{y, , , s = com.microsoft.SkipLayerNormalization<epsilon = 0.001>(x, z, g, o, b)}}",
        f"{SIGNATURE} {{t = Add(x, z) s = Add(t, b) y = LayerNormalization<axis = -1, epsilon = 0.001>(s, g, o)}}",
        tolerance=1e-5,
    )


def test_a_simplified_one():
    assert_rewrites(
        LowerSkipNormalization(),
        f"{SIGNATURE} {{y, , , s = com.microsoft.SkipSimplifiedLayerNormalization<epsilon = 0.001>(x, z, g, b)}}",
        f"{SIGNATURE} {{t = Add(x, z) s = Add(t, b) y = RMSNormalization<axis = -1, epsilon = 0.001>(s, g)}}",
        tolerance=1e-5,
    )


@pytest.mark.parametrize("node", ["SkipLayerNormalization(x, z, g)", "SkipSimplifiedLayerNormalization(x, z, g)"])
@pytest.mark.parametrize("skip", ["2, 3, 4", "1, 3, 4", "3, 4"])
def test_a_skip_of_one_batch_and_what_is_left_out(node, skip):
    signature = f"{HEADER} (float[2, 3, 4] x, float[{skip}] z, float[4] g) => (float[2, 3, 4] y)"
    text = f"{signature} {{y = com.microsoft.{node}}}"
    assert_rewrites(LowerSkipNormalization(), text, None, tolerance=1e-5)


def test_leaves_what_tells_its_mean():
    signature = SIGNATURE.replace("float[2, 3, 4] s)", "float[2, 3, 1] m)")
    text = f"{signature} {{y, m = com.microsoft.SkipLayerNormalization(x, z, g)}}"
    assert_leaves(LowerSkipNormalization(), text, because="its mean or variance is read")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x, skip = around.op("Neg", around.input(2, 3, 4)), around.input(2, 3, 4)
        gamma, beta = around.constant(np.float32([1, -1, 0, 2])), around.constant(np.float32([0, 1, 2, 3]))
        op = around.choose("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
        operands = [x, skip, gamma, beta][: around.choose(3, 4)]
        made = around.ops(op, *operands, outputs=4, domain="com.microsoft", company=False, epsilon=1e-3)
        around.nodes[-1].output[1] = around.nodes[-1].output[2] = ""
        around.unread += made[1:3]
        around.op("Relu", around.declare(made[0], 2, 3, 4))
        if around.choose(True, False):
            around.op("Abs", around.declare(made[3], 2, 3, 4))
        else:
            del around.nodes[-2 if around.nodes[-1].op_type == "Relu" else -3].output[1:]

    check_surroundings(LowerSkipNormalization(), build, least_hits=0.9, tolerance=1e-4)
