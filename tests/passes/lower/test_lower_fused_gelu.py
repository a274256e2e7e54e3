import numpy as np
import pytest

from npuopt.graph import nodes
from npuopt.passes.lower.lower_fused_gelu import LowerFusedGelu
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'
SIGNATURE = f"{HEADER} (float[2, 3] x, float[3] b) => (float[2, 3] y)"


@pytest.mark.parametrize(
    ("fused", "standard"),
    [
        ("BiasGelu(x, b)", "t = Add(x, b) y = Gelu(t)"),
        ("FastGelu(x, b)", 't = Add(x, b) y = Gelu<approximate = "tanh">(t)'),
        ("FastGelu(x)", 'y = Gelu<approximate = "tanh">(x)'),
        ("Gelu(x)", "y = Gelu(x)"),
        ("QuickGelu(x)", "y = Swish<alpha = 1.702>(x)"),
        ("QuickGelu<alpha = 1.0>(x)", "y = Swish<alpha = 1.0>(x)"),
        ("QuickGelu<alpha = -2.0>(x)", "y = Swish<alpha = -2.0>(x)"),
    ],
)
def test_they_become_standard_ones(fused, standard):
    before, after = f"{SIGNATURE} {{y = com.microsoft.{fused}}}", f"{SIGNATURE} {{{standard}}}"
    assert_rewrites(LowerFusedGelu(), before, after, tolerance=1e-5)


def test_leaves_what_has_no_type():
    model = model_from(f"{SIGNATURE} {{t = com.microsoft.Unique(x) y = com.microsoft.Gelu(t)}}")
    nodes(model)[0].outputs[0].type = None
    assert_leaves(LowerFusedGelu(), model, because="type of its input is not known")


def test_the_standard_gelu_is_none_of_them():
    assert_leaves(LowerFusedGelu(), f"{SIGNATURE} {{y = Gelu(x)}}", because=None)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x, bias = around.op("Neg", around.input(2, 3)), around.constant(np.float32([-1, 0, 2]))
        op = around.choose("BiasGelu", "FastGelu", "Gelu", "QuickGelu")
        operands = [x, bias] if op in ("BiasGelu", "FastGelu") else [x]
        made = around.op(op, *operands, domain="com.microsoft", company=False)
        around.op("Relu", around.declare(made, 2, 3))

    check_surroundings(LowerFusedGelu(), build, least_hits=0.9, tolerance=1e-5)
