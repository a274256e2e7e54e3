import numpy as np
import pytest

from npuopt.passes.fuse.fuse_hard_swish import FuseHardSwish
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = """(float[N, 4] x) => (float[N, 4] y)
    <float three = {3}, float zero = {0}, float six = {6}, float sixth = {0.166666672}>"""
CLIP = "a = Add(x, three) c = Clip(a, zero, six)"


@pytest.mark.parametrize(
    "formula",
    [
        f"{CLIP} m = Mul(x, c) y = Div(m, six)",
        f"{CLIP} m = Mul(c, x) y = Mul(sixth, m)",
        f"{CLIP} d = Div(c, six) y = Mul(d, x)",
        f"{CLIP} d = Mul(c, sixth) y = Mul(x, d)",
        f"{CLIP} d = Div(x, six) y = Mul(d, c)",
        "h = HardSigmoid<alpha = 0.1666667, beta = 0.5>(x) y = Mul(x, h)",
        "h = HardSigmoid<alpha = 0.1666667>(x) y = Mul(x, h)",
    ],
)
def test_a_value_times_its_hard_sigmoid(formula):
    assert_rewrites(FuseHardSwish(), f"{SIGNATURE} {{{formula}}}", f"{SIGNATURE} {{y = HardSwish(x)}}")


BEFORE = f"{SIGNATURE} {{{CLIP} m = Mul(x, c) y = Div(m, six)}}"


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("three = {3}", "three = {2.5}"), None),
        (BEFORE.replace("Mul(x, c)", "Mul(a, c)"), None),
        (f"{SIGNATURE} {{h = HardSigmoid<alpha = 0.2>(x) y = Mul(x, h)}}", None),
        (BEFORE.replace("[N, 4] y", "[N, 4] y, float[N, 4] m"), "'m' is a graph output"),
        (
            BEFORE.replace("y = D", "z = Neg(c) y = D").replace("[N, 4] y", "[N, 4] y, float[N, 4] z"),
            "'c' is read elsewhere",
        ),
    ],
)
def test_leaves_other_products(text, because):
    assert_leaves(FuseHardSwish(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3))
        three, zero, six = (around.constant(np.array(number, "f")) for number in (3, 0, 6))
        clipped = around.op("Clip", around.op("Add", x, three), zero, six)
        around.op("Div", around.op("Mul", x, clipped), six)

    check_surroundings(FuseHardSwish(), build, examples=150, least_hits=0.05)
