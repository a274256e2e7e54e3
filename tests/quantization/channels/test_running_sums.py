"""Sums that run through layers are found with all that they are made of, and how far normalized terms take them."""

import numpy as np

from npuopt.quantization.channels.running_sums import greatest, running_sums
from support.rewrites import model_from

TEXT = """(float[1,2,4] x, float[1,2,4] a, float[1,2,4] b) => (float[1,2,4] y)
    <float[4] g = {1, 2, 3, 4}, float[4] h = {5, 1, 1, -6}, float[4] f = {1, 1, 1, 1}>
    {p = RMSNormalization<axis=-1>(a, g) s = Add(x, p) n = RMSNormalization<axis=-1>(s, f) m = Mul(n, b)
    q = RMSNormalization<axis=-1>(m, h) t = Add(s, q) y = RMSNormalization<axis=-1>(t, f)}"""


def test_a_sum_with_its_terms_and_its_readers():
    (running,) = running_sums(model_from(TEXT))
    assert running.name == "s"
    assert {value.name for value in running.values} == {"x", "p", "s", "q", "t"}
    assert {value.name for value in running.terms} == {"x", "p", "q"}
    assert [len(running.sums), len(running.norms), len(running.normalized_terms)] == [2, 2, 2]
    assert not running.why


def test_what_normalized_terms_add_up_to():
    (running,) = running_sums(model_from(TEXT))
    assert greatest(running) == 2 * 10, "the last channel, of scales 4 and 6, times the length of a vector of four"
    rows = np.array([[0.0, 0, 0, 1]])
    normalized = rows / np.sqrt((rows**2).mean())
    assert np.abs(normalized).max() == 2, "the bound is reached"


def test_what_else_sees_the_sum_is_named():
    model = model_from(TEXT.replace("m = Mul(n, b)", "r = Relu(s) m = Mul(n, r)"))
    (running,) = running_sums(model)
    assert "Relu" in running.why


def test_one_addition_is_no_running_sum():
    text = """(float[1,4] x, float[1,4] y) => (float[1,4] z) <float[4] g = {1, 1, 1, 1}>
        {s = Add(x, y) z = RMSNormalization<axis=-1>(s, g)}"""
    assert running_sums(model_from(text)) == []
