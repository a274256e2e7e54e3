import numpy as np

from npuopt.passes.lower.lower_erf import LowerErf
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[2000] x) => (float[2000] y) {y = Erf(x)}"


def test_becomes_a_polynomial_times_an_exponential():
    assert_rewrites(
        LowerErf(),
        BEFORE,
        """(float[2000] x) => (float[2000] y)
        <float a = {0.3275911}, float one = {1}, float c1 = {1.061405429}, float c2 = {-1.453152027},
         float c3 = {1.421413741}, float c4 = {-0.284496736}, float c5 = {0.254829592}> {
            sign = Sign(x) m = Abs(x) n = Mul(m, a) o = Add(n, one) t = Reciprocal(o)
            p1 = Mul(t, c1) q1 = Add(p1, c2) p2 = Mul(q1, t) q2 = Add(p2, c3) p3 = Mul(q2, t) q3 = Add(p3, c4)
            p4 = Mul(q3, t) q4 = Add(p4, c5) series = Mul(q4, t)
            s = Mul(x, x) d = Neg(s) e = Exp(d) tail = Mul(series, e) r = Sub(one, tail) y = Mul(sign, r)
        }""",
    )


def test_is_exact_to_4e_7_everywhere():
    edges = np.array([0, -0.0, 1e-30, -1e-6, 4, -4, 9, 1e19, np.inf, -np.inf], "f")
    x = np.concatenate([edges, np.linspace(-6, 6, 2000 - edges.size, dtype="f")])
    assert_rewrites(LowerErf(), BEFORE, None, feeds={"x": x}, seeds=[0], tolerance=4e-7)


def test_leaves_double():
    assert_leaves(LowerErf(), "(double[N] x) => (double[N] y) {y = Erf(x)}", because="too little for DOUBLE")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        around.op("Erf", around.op("Neg", around.input(2, 3)))

    check_surroundings(LowerErf(), build, least_hits=0.9)
