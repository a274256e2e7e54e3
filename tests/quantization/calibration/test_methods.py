"""Ways to find ranges: each on numbers whose best range is known, and their texts."""

from __future__ import annotations

import numpy as np
import pytest

from npuopt.quantization import (
    ByBits,
    Entropy,
    LeastSquares,
    MinMax,
    MovingAverage,
    Percentile,
    calibrate,
    encodings_for,
    open_samples,
)
from npuopt.quantization.arithmetic import affine
from npuopt.quantization.calibration.histograms import BINS
from npuopt.quantization.calibration.methods import default_method, make_method, method_text
from npuopt.target import load_target
from support.command import complaint, npuopt
from support.integer_chip import integer_chip
from support.rewrites import model_from
from support.toy_road import toy_files

RNG = np.random.default_rng(0)
SHAPES = {
    "bell": RNG.normal(size=20_000),
    "heavy tails": RNG.standard_t(3, size=20_000),
    "half zeros": np.maximum(RNG.normal(size=20_000), 0),
    "one outlier": np.append(RNG.normal(size=20_000), 100.0),
    "flat": RNG.uniform(0, 1, 20_000),
    "below zero": -RNG.exponential(size=20_000),
}


def watched(method, *parts):
    observer = method.observer()
    for part in parts:
        observer.update(np.asarray(part, np.float32))
    return observer


def squared_error(numbers, low, high, dtype, *, symmetric=False):
    scale, zero_point = affine(low, high, dtype, symmetric=symmetric)
    smallest, largest = {"uint8": (0, 255), "uint4": (0, 15), "int8": (-128, 127), "int4": (-8, 7)}[dtype]
    integers = np.clip(np.rint(numbers / scale) + zero_point, smallest, largest)
    return float((((integers - zero_point) * scale - numbers) ** 2).mean())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "levels", "symmetric"),
    [("uint8", 256, False), ("uint4", 16, False), ("int8", 256, True), ("int4", 16, True)],
)
def test_least_squares_beats_every_other_interval(shape, dtype, levels, symmetric):
    numbers = SHAPES[shape]
    found = watched(LeastSquares(), numbers).range(levels, symmetric=symmetric)
    error = squared_error(numbers, found.low, found.high, dtype, symmetric=symmetric)
    tried = [
        squared_error(numbers, low * numbers.min(), high * numbers.max(), dtype, symmetric=symmetric)
        for low in np.linspace(1, 0.05, 12)
        for high in np.linspace(1, 0.05, 12)
    ]
    assert error <= 1.05 * min(tried)


def test_wide_types_are_not_cut():
    numbers = SHAPES["heavy tails"]
    seen = watched(LeastSquares(), numbers).range(65536)
    assert (seen.low, seen.high) == pytest.approx((numbers.min(), numbers.max()), rel=0.01)
    seen = watched(Entropy(), numbers).range(65536)
    assert (seen.low, seen.high) == pytest.approx((numbers.min(), numbers.max()), rel=0.01)


def test_entropy_gives_up_a_lone_number_and_keeps_what_is_evenly_spread():
    seen = watched(Entropy(), SHAPES["one outlier"]).range(256)
    assert 2 < seen.high < 20
    assert seen.low < -2
    seen = watched(Entropy(), SHAPES["flat"]).range(256)
    assert (seen.low, seen.high) == pytest.approx((0, 1), abs=0.02)
    seen = watched(Entropy(), SHAPES["one outlier"]).range(256, symmetric=True)
    assert 2 < seen.high < 20


def test_the_default_spares_sixteen_bits_and_cuts_the_rarest_of_eight():
    numbers = np.append(np.linspace(-1, 1, 400_001), 50.0)
    observer = watched(ByBits(), numbers)
    assert observer.range(65536).high == 50
    assert observer.range(256).high == pytest.approx(1, abs=50 / BINS * 2)
    assert default_method(integer_chip(), "a8w8") == ByBits()
    assert default_method(integer_chip(), "a16w8") == MinMax()
    mixing = load_target("arm/ethos-u55-128")
    assert default_method(mixing, "a16w8") == ByBits(), "what it does not take in 16 bits has 8"


def test_a_moving_average_weighs_samples_evenly_at_first():
    observer = watched(MovingAverage(0.25), [-1, 1], [-3, 1], [-2, 4])
    assert (observer.range().low, observer.range().high) == (-2, 2)
    observer.update(np.array([-6, 6], np.float32))
    observer.update(np.array([-3, 3], np.float32))
    assert observer.range().low == pytest.approx(-3)


@pytest.mark.parametrize("method", [LeastSquares(), Entropy(), Percentile(), MinMax(), MovingAverage()])
@pytest.mark.parametrize("numbers", [[0.0], [5.0, 5.0], [-1e-30, 1e-30], [3e38, -3e38], [0.0, 1e-38]])
def test_odd_numbers_have_a_range_too(method, numbers):
    seen = watched(method, numbers).range(256)
    assert np.isfinite([seen.low, seen.high]).all()
    assert np.float32(min(numbers)) <= seen.low <= seen.high <= np.float32(max(numbers))


@pytest.mark.parametrize("method", [LeastSquares(), Percentile(99.0), MinMax(), MovingAverage()])
def test_an_observer_goes_on_where_it_was_interrupted(method):
    whole = watched(method, *np.array_split(SHAPES["bell"] * 7, 4))
    first = watched(method, *np.array_split(SHAPES["bell"] * 7, 4)[:2])
    second = method.observer()
    second.restore(first.state())
    for part in np.array_split(SHAPES["bell"] * 7, 4)[2:]:
        second.update(part.astype(np.float32))
    assert second.range() == whole.range()


def test_the_element_type_decides_what_is_cut(tmp_path):
    """Four bits give up a lone number for finer steps; sixteen have enough of them to hold it."""
    model = model_from("(float[1,20000] x) => (float[1,20000] y) {y = Neg(x)}")
    x = np.random.default_rng(0).normal(size=(1, 1, 20000)).astype(np.float32)
    x[0, 0, 7] = 12
    np.savez(tmp_path / "samples.npz", x=x)
    ranges = calibrate(model, open_samples(tmp_path / "samples.npz", model), LeastSquares())
    assert ranges.of("x", "uint4").high < 6
    assert ranges.of("x", "uint16").high == pytest.approx(12)
    assert ranges.of("x", "int4", symmetric=True).high < ranges.of("x", "int8", symmetric=True).high
    assert ranges.method == "mse"
    encodings = encodings_for(model, integer_chip(), "a8w8", ranges)
    assert encodings.calibration == "mse"


def test_scores_to_choose_by_keep_their_rare_numbers(tmp_path):
    """Of many classes one is right: no percentile sees it."""
    model = model_from("""(float[1,9999] x) => (float[1,9999] y, float[1,9999] z)
    <float half = {0.5}> { a = Neg(x) b = Mul(a, half) y = Softmax<axis=-1>(b) c = Abs(x) d = Sqrt(c) z = Neg(d) }""")
    x = np.random.default_rng(0).normal(size=(3, 1, 9999)).astype(np.float32)
    x[:, 0, 5] = -1000
    np.savez(tmp_path / "samples.npz", x=x)
    ranges = calibrate(model, open_samples(tmp_path / "samples.npz", model), Percentile(99.9)).tensors
    assert (ranges["a"].high, ranges["b"].high) == (1000, 500)
    assert ranges["z"].low == pytest.approx(-(1000**0.5)), "what the model returns is nobody's to cut"
    assert ranges["c"].high < 10
    assert ranges["x"].low > -10


def test_memory_of_a_histogram_does_not_grow():
    observer = watched(LeastSquares(), *(RNG.normal(0, 10.0**power, 100) for power in range(-20, 20)))
    assert sum(array.size for array in observer.state().values()) <= BINS + 8


@pytest.mark.parametrize(
    "method", [MinMax(), MovingAverage(0.5), Percentile(99.9), Entropy(), LeastSquares(), ByBits()]
)
def test_a_method_is_made_again_from_its_text(method):
    text = method_text(method)
    name, _, rest = text.partition("{")
    options = dict(item.split("=") for item in rest[:-1].split(",") if item)
    assert make_method(name, options) == method


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("minmx", "did you mean minmax?"),
        ("quantile", "there are minmax, moving-average"),
        ("percentile{percent=3}", "no option 'percent'"),
        ("percentile{percentile=3}", "percentile 3 is not above 50"),
        ("percentile{percentile=nan}", "percentile nan"),
        ("percentile{percentile=high}", "is no number"),
        ("percentile{percentile=[1,2]}", "is no number"),
        ("percentile{percentile=99.9", "close"),
        ("moving-average{constant=0}", "averaging constant 0"),
        ("minmax{a=1}", "it has none"),
    ],
)
def test_texts_that_name_no_method(tmp_path, text, words):
    chip, model, _ = toy_files(tmp_path / "inputs")
    done = npuopt("quantize", model, "-t", chip, "--calibration-method", text, "-o", tmp_path / "q.onnx")
    assert words in complaint(done, 2)
    assert not (tmp_path / "q.onnx").exists()
