"""The quantization benchmark's rows on speed: what they run, and how they judge it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.calibrate import Row
from benchmarks.quantize_commands import Peers
from benchmarks.quantize_speed import WITHOUT, Measured, SpeedRow, Taken, measure, print_measured, speed_rows
from npuopt.quantization.steps.registry import standard_steps
from npuopt.target import load_target


def measured(seconds: float = 13.0, mebibytes: float = 450.0, calibration: float = 15.0) -> Measured:
    tools = {"npuopt": Taken(seconds, mebibytes), "ort-minmax": Taken(40.0, 2000.0)}
    return Measured(SpeedRow("bert12"), tools, Row("bert12", 32, 100.0, 10.0, calibration, 400.0, 400.0))


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (measured(), "met"),
        (measured(seconds=13.5), "misses share"),
        (measured(mebibytes=451, calibration=16), "misses calibration, memory"),
    ],
)
def test_the_verdict_names_missed_bars(found: Measured, verdict: str) -> None:
    assert found.verdict() == verdict


def test_the_least_time_and_the_largest_peak_of_the_rounds_count() -> None:
    taken = Taken()
    for cpu, peak in ((3.0, 100.0), (2.0, 90.0), (4.0, 110.0)):
        taken.add(cpu, peak)
    assert taken == Taken(2.0, 110.0)


def test_the_steps_left_out_are_among_those_that_run_unasked() -> None:
    row = speed_rows()[0]
    assert set(WITHOUT) <= set(standard_steps(load_target(row.target).scheme(row.scheme)))


def test_another_number_of_samples_is_taken_for_all_rows() -> None:
    assert {row.samples for row in speed_rows(3)} == {3}
    assert len({row.name for row in speed_rows()}) == len(speed_rows())


def test_a_small_model_is_measured_and_printed(capfd: pytest.CaptureFixture[str]) -> None:
    found = measure(SpeedRow("fashion_mnist", samples=3), ["npuopt"], Peers(Path(), 4.0), rounds=1)
    assert found.share is None
    print_measured(found, as_json=True)
    printed = json.loads(capfd.readouterr().out)
    assert printed["tools"]["npuopt"]["cpu_seconds"] > 0
    assert printed["calibration"]["samples"] == 3
    print_measured(found, as_json=False)
    assert capfd.readouterr().out.startswith("| fashion_mnist-speed | npuopt | 3 | ")


def test_a_tool_that_fails_is_said_with_its_last_words(capsys: pytest.CaptureFixture[str]) -> None:
    found = measured()
    found.tools["ort-minmax"] = Taken(failure="MemoryError")
    print_measured(found, as_json=False)
    assert "| ort-minmax | 32 | fails: MemoryError |" in capsys.readouterr().out
    assert found.share is None
