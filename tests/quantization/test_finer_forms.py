"""Normalizations, Gelu and HardSwish are written otherwise where data shows that the bits they get are too few."""

import numpy as np
import pytest

from npuopt.graph.execution import Session
from npuopt.passes.quantize.insert_quantize_dequantize import InsertQuantizeDequantize
from npuopt.passes.quantize.insert_row_scales import InsertRowScales as RowsPass
from npuopt.passes.quantize.lower_gelu_to_sigmoid import LowerGeluToSigmoid as GeluPass
from npuopt.passes.quantize.lower_hard_swish_to_clip import LowerHardSwishToClip as HardSwishPass
from npuopt.quantization import calibrate
from npuopt.quantization.accuracy.held_activations import OutputNoise
from npuopt.quantization.steps import Work
from npuopt.quantization.steps.activations import WidenActivations
from npuopt.quantization.steps.finer_forms import LowerGeluToSigmoid, LowerHardSwishToClip, ScaleNormalizedRows
from npuopt.target import load_target
from support.integer_chip import integer_chip
from support.stepping import start, work_on

CHIP = load_target("arm/ethos-u85-512")
RNG = np.random.default_rng(0)
NORMALIZATION = """(float[1,16,32] x) => (float[1,16,32] y)
    <int64[1] axes = {-1}, float epsilon = {0.00001}, float half = {-0.5}>
    {q = Mul(x, x) v = ReduceMean<keepdims=1>(q, axes) e = Add(v, epsilon) f = Pow(e, half) y = Mul(x, f)}"""
GELU = "(float[1,16,32] x) => (float[1,16,32] y) {h = Gelu(x) y = Mul(h, h)}"
SWISHES = """(float[1,16,32] x) => (float[1,16,32] y) <float[32] tiny = {TINY}>
    {p = Mul(x, tiny) plain = HardSwish(p) coarse = HardSwish(x) h = Mul(coarse, tiny) y = Add(h, plain)}""".replace(
    "TINY", ",".join("0.01" if channel == 7 else "1" for channel in range(32))
)
EVEN = RNG.normal(size=(8, 1, 16, 32)).astype(np.float32)
OUTLIER = EVEN * np.where(np.arange(32) == 7, 100, 1).astype(np.float32)
UNEVEN = EVEN * np.where(np.arange(16) == 3, 300, 1).astype(np.float32)[:, None]


def rewritten(step, pass_type, work):
    """Return the work with the model that comes of the step."""
    for rewrite in step.rewrites(work):
        assert not pass_type(**rewrite.options)(work.model, work.target).declined
    ranges = calibrate(work.model, work.samples, threads=1)
    return Work(work.model, work.target, work.scheme, work.samples, ranges, threads=1)


def sqnr_db(work, x):
    """Return how well the quantized model follows the float one, in the small rows."""
    expected = Session(work.model).run({"x": x})["y"]
    InsertQuantizeDequantize(work.encodings())(work.model)
    got = Session(work.model).run({"x": x})["y"]
    small = np.arange(16) != 3
    return 10 * np.log10(np.square(expected[:, small]).sum() / np.square(got - expected)[:, small].sum())


def test_rows_of_different_sizes_are_scaled_and_gain_what_sixteen_bits_lose(tmp_path):
    plain = sqnr_db(work_on(NORMALIZATION, tmp_path, "a16w8", CHIP, x=UNEVEN), UNEVEN[0])
    scaled = rewritten(ScaleNormalizedRows(), RowsPass, work_on(NORMALIZATION, tmp_path, "a16w8", CHIP, x=UNEVEN))
    assert sqnr_db(scaled, UNEVEN[0]) > plain + 20


@pytest.mark.parametrize(
    ("x", "scheme", "chip"),
    [(EVEN, "a16w8", CHIP), (UNEVEN, "a16w8", integer_chip())],
    ids=["rows of one size", "a chip without Pow"],
)
def test_normalizations_are_left_alone(x, scheme, chip, tmp_path):
    assert not list(ScaleNormalizedRows().rewrites(work_on(NORMALIZATION, tmp_path, scheme, chip, x=x)))


def test_means_over_other_axes_are_left_alone(tmp_path):
    text = NORMALIZATION.replace("axes = {-1}", "axes = {1}")
    assert not list(ScaleNormalizedRows().rewrites(work_on(text, tmp_path, "a16w8", CHIP, x=UNEVEN)))


def test_every_gelu_gets_sixteen_bits_where_activations_have_them(tmp_path):
    plain = work_on(GELU, tmp_path, "a16w8", CHIP, x=EVEN)
    assert [list(each.options["names"]) for each in LowerGeluToSigmoid().rewrites(plain)] == [["h"]]
    held = rewritten(LowerGeluToSigmoid(), GeluPass, plain).encodings()
    assert {encoding.dtype for encoding in held.tensors.values()} == {"int16"}


@pytest.mark.parametrize(("least", "count"), [(20.0, 0), (60.0, 1)])
def test_eight_bits_are_left_where_they_are_enough(least, count, tmp_path):
    work = work_on(GELU, tmp_path, "a8w8", CHIP, x=EVEN)
    assert len(list(LowerGeluToSigmoid(least_sqnr_db=least).rewrites(work))) == count


def test_a_chip_without_an_integer_gelu_is_left_alone(tmp_path):
    assert not list(LowerGeluToSigmoid().rewrites(work_on(GELU, tmp_path, "a16w8", integer_chip(), x=EVEN)))


@pytest.mark.parametrize(("x", "names"), [(EVEN, []), (OUTLIER, [["plain", "coarse"]])], ids=["even", "an outlier"])
def test_hard_swishes_are_written_otherwise_where_eight_bits_leave_the_output_too_noisy(x, names, tmp_path):
    work = work_on(SWISHES, tmp_path, "a8w8", CHIP, x=x)
    assert [list(each.options["names"]) for each in LowerHardSwishToClip().rewrites(work)] == names


def test_what_they_become_is_widened_until_the_output_is_good_enough(tmp_path):
    widen = WidenActivations(least_output_db=30)
    plain = work_on(SWISHES, tmp_path, "a8w8", CHIP, x=OUTLIER)
    finer = rewritten(LowerHardSwishToClip(least_output_db=30), HardSwishPass, plain)
    plain = work_on(SWISHES, tmp_path, "a8w8", CHIP, x=OUTLIER)
    reached = [
        OutputNoise(work.model, list(work.samples), threads=1).sqnr_db(widen.apply(work, start(work)).held.encodings)
        for work in (plain, finer)
    ]
    assert reached[0] < 30 <= reached[1]


@pytest.mark.parametrize(
    ("scheme", "least", "chip"),
    [("a8w8", 0.0, CHIP), ("a16w8", 60.0, CHIP), ("a8w8", 60.0, integer_chip())],
    ids=["the output may be noisy", "16 bits are legalization's", "a chip without an integer HardSwish"],
)
def test_hard_swish_is_left_alone(scheme, least, chip, tmp_path):
    work = work_on(SWISHES, tmp_path, scheme, chip, x=OUTLIER)
    assert not list(LowerHardSwishToClip(least_output_db=least).rewrites(work))
