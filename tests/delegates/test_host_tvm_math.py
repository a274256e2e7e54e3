"""The vector forms of exp, erf, tanh, sinh, cosh and sigmoid are as exact as float32 is."""

import math

import numpy as np
import pytest
from delegates.host_cases import compile_and_run, model_of

FUNCTIONS = {
    "Exp": np.exp,
    "Erf": np.vectorize(math.erf),
    "Tanh": np.tanh,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Sinh": np.sinh,
    "Cosh": np.cosh,
}


def computed(op: str, x: np.ndarray) -> np.ndarray:
    model = model_of(f"y = {op} (x)", f"float[{x.size}] x", f"float[{x.size}] y")
    return compile_and_run(model, {"x": x})[0][0]


@pytest.mark.parametrize("op", FUNCTIONS)
def test_relative_error(op):
    x = np.concatenate([np.linspace(-86, 86, 20001), np.linspace(-1, 1, 20001), np.logspace(-30, 1, 999)])
    x = x.astype(np.float32)
    exact = FUNCTIONS[op](x.astype(np.float64))
    error = np.abs(computed(op, x) - exact)
    assert np.max(error / np.maximum(np.abs(exact), 1e-37)) < 5e-7


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("Exp", [0, np.inf, np.nan, 1, 0, np.inf]),
        ("Erf", [-1, 1, np.nan, 0, -1, 1]),
        ("Tanh", [-1, 1, np.nan, 0, -1, 1]),
        ("Sigmoid", [0, 1, np.nan, 0.5, 0, 1]),
    ],
)
@pytest.mark.parametrize("copies", [1, 8])
def test_edges(op, expected, copies):
    x = np.array([-np.inf, np.inf, np.nan, 0, -200, 200] * copies, np.float32)
    np.testing.assert_allclose(computed(op, x), expected * copies, atol=3e-7)


def test_exp_reaches_the_largest_float():
    x = np.array([88.7, 88.72, 88.73, -87.3, -87.5, 0.0, 1.0, -1.0], np.float32)
    with np.errstate(over="ignore"):
        exact = np.exp(x.astype(np.float64)).astype(np.float32)
    made = computed("Exp", x)
    np.testing.assert_allclose(made[exact > 1e-37], exact[exact > 1e-37], rtol=5e-7)
    assert made[2] == np.inf
    assert np.all(made[3:5] < 1.2e-38)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.5, 2.5, -1.0])
def test_powers(exponent):
    model = model_of("y = Pow (x, e)", "float[16] x", "float[16] y", e=np.float32(exponent))
    x = np.linspace(0.1, 5, 16, dtype=np.float32)
    np.testing.assert_allclose(compile_and_run(model, {"x": x})[0][0], x**exponent, rtol=1e-6)
