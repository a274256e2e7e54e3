import pytest

from npuopt.passes.fuse.fuse_mish import FuseMish
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[N, 4] x) => (float[N, 4] y) <float one = {1}>"


@pytest.mark.parametrize("inner", ["s = Softplus(x)", "e = Exp(x) a = Add(one, e) s = Log(a)"])
def test_a_value_times_the_tanh_of_its_softplus(inner):
    before = f"{SIGNATURE} {{{inner} t = Tanh(s) y = Mul(t, x)}}"
    assert_rewrites(FuseMish(), before, f"{SIGNATURE} {{y = Mish(x)}}")


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("(float[N] x, float[N] z) => (float[N] y) {s = Softplus(z) t = Tanh(s) y = Mul(x, t)}", None),
        ("(float[N] x) => (float[N] y, float[N] t) {s = Softplus(x) t = Tanh(s) y = Mul(x, t)}", "a graph output"),
        ("(float[N] x) => (float[N] y) {s = Softplus(x) t = Tanh(s) y = Mul(s, t)}", None),
    ],
)
def test_leaves_other_products(text, because):
    assert_leaves(FuseMish(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3))
        around.op("Mul", x, around.op("Tanh", around.op("Softplus", x)))

    check_surroundings(FuseMish(), build, examples=60, least_hits=0.2)
