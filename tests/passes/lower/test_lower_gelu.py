import pytest

from npuopt.passes.lower.lower_gelu import LowerGelu
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings
from support.targets import takes


def test_the_exact_form_becomes_erf():
    assert_rewrites(
        LowerGelu(),
        "(float[N, 4] x) => (float[N, 4] y) {y = Gelu(x)}",
        """(float[N, 4] x) => (float[N, 4] y) <float root = {0.70710678}, float half = {0.5}, float one = {1}> {
            a = Mul(x, root) b = Erf(a) c = Mul(x, half) d = Add(b, one) y = Mul(c, d)
        }""",
    )


def test_the_tanh_form_becomes_tanh():
    assert_rewrites(
        LowerGelu(),
        '(float[N, 4] x) => (float[N, 4] y) {y = Gelu<approximate = "tanh">(x)}',
        """(float[N, 4] x) => (float[N, 4] y)
        <float cubic = {0.044715}, float root = {0.7978845608}, float half = {0.5}, float one = {1}> {
            square = Mul(x, x) cube = Mul(square, x) a = Mul(cube, cubic) b = Add(x, a) c = Mul(b, root)
            t = Tanh(c) h = Mul(x, half) u = Add(t, one) y = Mul(h, u)
        }""",
    )


@pytest.mark.parametrize("form", ["none", "tanh"])
def test_leaves_what_the_target_takes(form):
    text = f'(float[N, 4] x) => (float[N, 4] y) {{y = Gelu<approximate = "{form}">(x)}}'
    assert_leaves(LowerGelu(), text, because=None, target=takes("Gelu"))


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Gelu", around.op("Neg", around.input(2, 3)), approximate=around.choose("none", "tanh"))

    check_surroundings(LowerGelu(), build, least_hits=0.9)
