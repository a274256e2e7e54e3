"""A compiled part that fails falls to the CPU once, or stops, as asked."""

import numpy as np
import pytest

from npuopt.bundle import Step
from npuopt.delegates.contract import Limits
from npuopt.errors import InputError, ToolchainMissingError, VendorToolError
from npuopt.graph import save
from npuopt.runtime import Fallback, StepRunner
from npuopt.target import load_target
from support.rewrites import model_from


class FailingDelegate:
    """A delegate whose region does not run."""

    road = "failing"
    asked = 0
    error: Exception = VendorToolError("the simulator crashed")

    def run(self, region, samples, target, *, limits):
        FailingDelegate.asked += 1
        raise FailingDelegate.error


@pytest.fixture
def steps(tmp_path, monkeypatch) -> tuple[Step, ...]:
    monkeypatch.setattr("npuopt.runtime.steps.find_delegate", lambda road: {"failing": FailingDelegate()}[road])
    monkeypatch.setattr(FailingDelegate, "asked", 0)
    save(model_from("(float[2] x) => (float[2] y) {y = Relu(x)}"), tmp_path / "relu.onnx")
    save(model_from("(float[2] y) => (float[2] z) {z = Neg(y)}"), tmp_path / "neg.onnx")
    return (
        Step(name="first", kind="npu", road="failing", model="relu.onnx", inputs=("x",), outputs=("y",)),
        Step(name="second", kind="npu", road="failing", model="neg.onnx", inputs=("y",), outputs=("z",)),
    )


SAMPLES = [{"x": np.array([-1, 2], np.float32)}, {"x": np.array([3, -4], np.float32)}]


def runner(folder, steps, **options) -> StepRunner:
    return StepRunner(folder, steps, load_target("host/onnxruntime"), Limits(seconds=5), **options)


@pytest.mark.parametrize(
    "error",
    [VendorToolError("the simulator crashed"), ToolchainMissingError("no simulator"), OSError("no such library")],
)
def test_each_part_falls_once_and_is_reported(tmp_path, steps, monkeypatch, error) -> None:
    monkeypatch.setattr(FailingDelegate, "error", error)
    told: list[Fallback] = []
    running = runner(tmp_path, steps, on_failure="cpu", told=told.append)
    for _ in range(3):
        made = running.run(SAMPLES)
        assert [sample["z"].tolist() for sample in made] == [[0, -2], [-3, 0]]
    assert told == running.fallbacks == [Fallback(name, "failing", str(error)) for name in ("first", "second")]
    assert FailingDelegate.asked == 2


def test_by_default_a_failure_stops(tmp_path, steps) -> None:
    with pytest.raises(VendorToolError, match="the simulator crashed"):
        runner(tmp_path, steps).run(SAMPLES)


def test_what_fails_on_the_cpu_too_is_raised(tmp_path, steps) -> None:
    (tmp_path / "neg.onnx").write_bytes(b"damaged")
    running = runner(tmp_path, steps, on_failure="cpu")
    with pytest.raises(InputError, match="not an ONNX file"):
        running.run(SAMPLES)
    assert [fallback.step for fallback in running.fallbacks] == ["first"]


def test_a_part_of_the_host_has_no_other_form(tmp_path, steps) -> None:
    host = tuple(step.model_copy(update={"kind": "host"}) for step in steps)
    with pytest.raises(VendorToolError):
        runner(tmp_path, host, on_failure="cpu").run(SAMPLES)


class CountingDelegate:
    """Opens regions, and counts how often."""

    road = "counting"
    opened = 0

    def open(self, region):
        CountingDelegate.opened += 1
        return lambda samples: [{"y": sample["x"] + 1} for sample in samples]

    def run(self, region, samples, target, *, limits):
        raise AssertionError("it can be kept open")


def test_a_part_that_can_stay_open_is_opened_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("npuopt.runtime.steps.find_delegate", lambda _: CountingDelegate())
    step = Step(name="first", kind="npu", road="counting", model="m.onnx", inputs=("x",), outputs=("y",))
    running = runner(tmp_path, (step,))
    assert [running.run([{"x": np.float32(value)}])[0]["y"] for value in (1, 2, 3)] == [2, 3, 4]
    assert CountingDelegate.opened == 1
