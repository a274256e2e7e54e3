"""Products whose one operand keeps 8 bits, of which few channels leave the others little, are computed in floats."""

import numpy as np
import pytest

from npuopt.quantization.steps import standard_steps
from npuopt.quantization.steps.float_products import FloatProducts
from support.integer_chip import integer_chip
from support.stepping import start, work_on

CHIP = integer_chip(rounds_floats=True)
TEXT = """(float[1,4,16] q, float[1,16,4] k) => (float[1,4,4] y)
    {a = Tanh(q) b = Neg(k) p = MatMul(a, b) y = Relu(p)}"""


def attention(far, folder, chip=CHIP, scheme="a16w8"):
    """Return a work in which one channel of the keys runs `far`, and queries hardly ask for it."""
    generator = np.random.default_rng(0)
    q, k = generator.normal(0, 1, (8, 1, 4, 16)), generator.normal(0, 1, (8, 1, 16, 4))
    q[..., 5] /= far
    k[..., 5, :] *= far
    return work_on(TEXT, folder, scheme, chip, q=q.astype(np.float32), k=k.astype(np.float32))


def test_a_product_that_8_bits_leave_noisy_reads_16_bits_and_computes_floats(tmp_path):
    work = attention(100, tmp_path)
    before = start(work)
    assert before.encodings.read_by("p", 1, "b").dtype == "uint8"
    applied = FloatProducts().apply(work, before)
    assert applied.held.encodings.precisions == {"p": "fp16"}
    assert applied.held.encodings.tensors["b"].dtype == "uint16"
    assert applied.changed == 1


@pytest.mark.parametrize(
    ("far", "scheme", "chip"),
    [(1, "a16w8", CHIP), (100, "a8w8", CHIP), (100, "a16w8", integer_chip())],
    ids=["even channels", "both operands have 8 bits", "no float product"],
)
def test_other_products_stay(far, scheme, chip, tmp_path):
    work = attention(far, tmp_path, chip, scheme)
    held = start(work)
    assert FloatProducts().apply(work, held).held is held


def test_it_runs_on_request():
    assert "float-products" not in standard_steps(CHIP.scheme("a16w8"))
