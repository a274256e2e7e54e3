"""Bounds on metrics, as `--max-drop` says them."""

import numpy as np
import pytest

from npuopt.errors import InputError, UsageError
from npuopt.quantization.accuracy.goals import Goal

RANDOM = np.random.default_rng(0)


def runs(noise=0.0, count=3):
    made = np.random.default_rng(1)
    return [
        {
            "logits": (made.normal(0, 3, (1, 4, 50)) + noise * RANDOM.normal(0, 1, (1, 4, 50))).astype(np.float32),
            "cache": np.ones((2, 2), np.float32),
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("sqnr=30", Goal("sqnr", 30.0)),
        ("sqnr@logits=32.5", Goal("sqnr", 32.5, "logits")),
        ("perplexity=1.5%", Goal("perplexity", 0.015)),
        ("perplexity=0.02", Goal("perplexity", 0.02)),
        ("my.metrics:accuracy=0.5", Goal("my.metrics:accuracy", 0.5)),
    ],
)
def test_texts_of_the_three_kinds(text, goal):
    assert Goal.parse(text) == goal


@pytest.mark.parametrize(
    "text", ["", "sqnr", "sqnr=", "sqnr=much", "psnr=30", "sqnr=nan", "sqnr=-1", "sqnr=30%", "a.b:c@y=1", "=3"]
)
def test_other_texts_are_usage(text):
    with pytest.raises(UsageError, match=r"asks for less than nothing|is no bound on a metric"):
        Goal.parse(text)


def test_the_output_that_suffers_most_counts():
    reference, got = runs(), runs(0.1)
    everywhere, one, other = (Goal.parse(f"sqnr{at}=30") for at in ("", "@logits", "@cache"))
    assert everywhere.measure([], reference, got) == one.measure([], reference, got) == pytest.approx(29.5, abs=0.5)
    assert other.measure([], reference, got) == np.inf
    assert not one.is_met(29.9)
    assert one.is_met(30.0)
    assert one.badness(20.0) == pytest.approx(10)


def test_perplexity_grows_by_the_divergence_of_the_distributions():
    goal = Goal.parse("perplexity=1%")
    reference = runs()
    assert goal.measure([], reference, runs()) == pytest.approx(0, abs=1e-9)
    shifted = [{**one, "logits": one["logits"] + 7} for one in reference]
    assert goal.measure([], reference, shifted) == pytest.approx(0, abs=1e-5), "a constant changes no distribution"
    # Small noise of variance v on the logits costs about v / 2 times the mean of 1 - sum p^2.
    measured = goal.measure([], reference, runs(0.1))
    assert 0.001 < measured < 0.005
    assert goal.is_met(measured)
    assert goal.badness(0.02) == pytest.approx(2)


def test_a_function_of_ones_own_sees_inputs_and_outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_metric.py").write_text(
        "def mean(inputs, outputs):\n    return sum(float(one['cache'].sum()) for one in outputs) / len(inputs)\n"
        "def broken(inputs, outputs):\n    raise ValueError('no labels')\n"
        "def silent(inputs, outputs):\n    return float('nan')\n"
    )
    goal = Goal.parse("own_metric:mean=0.5")
    lower = [{"cache": one["cache"] - 0.25} for one in runs()]
    assert goal.measure([{}] * 3, runs(), lower) == pytest.approx(1.0), "how much it falls"
    assert not goal.is_met(1.0)
    with pytest.raises(InputError, match="own_metric:broken: the metric fails: ValueError: no labels"):
        Goal.parse("own_metric:broken=1").measure([], runs(), runs())
    with pytest.raises(InputError, match="returns nan"):
        Goal.parse("own_metric:silent=1").measure([], runs(), runs())
    with pytest.raises(InputError, match="has no function gone"):
        Goal.parse("own_metric:gone=1").measure([], runs(), runs())


def test_outputs_that_do_not_exist():
    with pytest.raises(UsageError, match="no float output is called 'z'; there are logits, cache"):
        Goal.parse("sqnr@z=30").outputs(runs()[0])
    with pytest.raises(UsageError, match="no float output whose perplexity"):
        Goal.parse("perplexity=1%").outputs({"ids": np.zeros(3, np.int64)})
