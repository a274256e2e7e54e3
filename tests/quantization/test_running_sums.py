"""Sums that run far in few channels are computed in floats, and scaled where those would not hold them either."""

import numpy as np
import pytest

from npuopt.graph import is_op
from npuopt.quantization.steps import standard_steps
from npuopt.quantization.steps.running_sums import FloatRunningSums, ScaleRunningSums
from npuopt.road.stepping import REWRITES
from support.integer_chip import integer_chip
from support.stepping import literal, start, work_on

WIDTH = 32
ONES, ZEROS = np.ones(WIDTH), np.zeros(WIDTH)


def outlying(size):
    """Return scales of which one is `size` times the others."""
    return np.where(np.arange(WIDTH) == 5, size, 1.0)


def text(far, last=1.0):
    """Return a small stream that runs `far` in one channel, which the normalizations behind it hardly weigh."""
    constants = {"g": outlying(far), "h": last * outlying(far), "f": 1 / outlying(far), "b": ZEROS}
    listed = ", ".join(f"float[{WIDTH}] {name} = {{{literal(array)}}}" for name, array in constants.items())
    weight = np.random.default_rng(0).normal(0, 1, (WIDTH, WIDTH))
    return f"""(float[4,{WIDTH}] x, float[4,{WIDTH}] a) => (float[4,{WIDTH}] y)
        <{listed}, float[{WIDTH},{WIDTH}] w = {{{literal(weight)}}}>
        {{r = Neg(x) p = LayerNormalization(a, g, b) s = Add(r, p) n = LayerNormalization(s, f, b) m = MatMul(n, w)
        q = LayerNormalization(m, h, b) t = Add(s, q) y = LayerNormalization(t, f, b)}}"""


def work(far, folder, scheme="a16w8", **kwargs):
    generator = np.random.default_rng(1)
    x, a = generator.normal(0, 1, (2, 4, 4, WIDTH)).astype(np.float32)
    return work_on(text(far, **kwargs), folder, scheme, integer_chip(rounds_floats=True), x=x, a=a)


def test_what_adds_up_and_the_normalizations_around_it_are_computed_in_float(tmp_path):
    made = work(1000, tmp_path)
    applied = FloatRunningSums().apply(made, start(made))
    assert applied.held.encodings.precisions == dict.fromkeys(("s", "t", "n", "y", "p", "q"), "fp16")
    assert "s" not in applied.held.encodings.tensors, "it stays float"
    assert applied.held.encodings.tensors["m"].dtype == "uint16", "products stay integers"
    assert applied.held.encodings.corrections == {}, "nobody asked for any"


@pytest.mark.parametrize(("far", "scheme"), [(2, "a16w8"), (1000, "a8w8"), (40000, "a16w8")])
def test_sums_that_integers_hold_or_floats_do_not_stay(far, scheme, tmp_path):
    made = work(far, tmp_path, scheme)
    held = start(made)
    assert FloatRunningSums().apply(made, held).held is held


def test_how_noisy_a_sum_may_be_is_an_option(tmp_path):
    made = work(2, tmp_path)
    assert FloatRunningSums(least_sqnr_db=200).apply(made, start(made)).changed == 6


def test_what_16_bit_floats_cannot_hold_is_asked_to_be_divided(tmp_path):
    made = work(40000, tmp_path)
    (rewrite,) = ScaleRunningSums().rewrites(made)
    reach = 2 * 40000 * np.sqrt(WIDTH)
    assert rewrite.options == {"scales": {"s": 2.0 ** np.ceil(np.log2(reach / 16376))}}
    assert rewrite.pass_name in REWRITES
    assert not list(ScaleRunningSums().rewrites(work(100, tmp_path)))
    assert any(is_op(node, "Add") for node in made.model.graph), "the step itself edits nothing"


def test_both_are_standard():
    assert {"scale-running-sums", "float-running-sums"} <= set(standard_steps(integer_chip().scheme("a16w8")))
