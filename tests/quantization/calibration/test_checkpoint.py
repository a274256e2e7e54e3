"""Calibration that is interrupted goes on where it was; what does not belong to it is refused."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from npuopt.errors import InputError, UsageError
from npuopt.quantization import LeastSquares, MinMax, MovingAverage, calibrate, open_samples
from npuopt.quantization.calibration import checkpoint as module
from npuopt.quantization.calibration import looking as module_of_looking
from support.rewrites import model_from

TEXT = """(float[1,3,4,4] x) => (float[1,2,4,4] y)
<float[2,3,1,1] w = {1,2,3,4,5,6}>
{ a = Softmax<axis=-1>(x) b = Log(a) y = Conv(b, w) }"""
X = np.random.default_rng(0).normal(size=(8, 1, 3, 4, 4)).astype(np.float32)


class Interrupted(list):
    """Samples that end in a Ctrl-C."""

    count = len(X)

    def __init__(self, stop):
        super().__init__({"x": x} for x in X)
        self.stop = stop

    def __iter__(self):
        for index, sample in enumerate(super().__iter__()):
            if index == self.stop:
                raise KeyboardInterrupt
            yield sample


@pytest.fixture
def samples(tmp_path):
    model = model_from(TEXT)
    np.savez(tmp_path / "samples.npz", x=X)
    return model, open_samples(tmp_path / "samples.npz", model)


def counted(model, samples, method, state):
    calls = []

    def told(done, total):
        calls.append(done)

    return calibrate(model, samples, method, state=state, progress=told, threads=1), calls


@pytest.mark.parametrize("method", [MinMax(), MovingAverage(0.2), LeastSquares()])
def test_it_goes_on_after_an_interruption(samples, tmp_path, method):
    model, data = samples
    with pytest.raises(KeyboardInterrupt):
        calibrate(model, Interrupted(5), method, state=tmp_path / "state", threads=1)
    ranges, calls = counted(model, data, method, tmp_path / "state")
    whole = calibrate(model, data, method)
    assert calls == [6, 7, 8], "five samples were not run again"
    assert ranges == whole
    assert ranges.of("b", "int8", symmetric=True) == whole.of("b", "int8", symmetric=True)
    assert ranges.data == whole.data
    again, calls = counted(model, data, method, tmp_path / "state")
    assert (again, calls) == (whole, []), "all of them are known now"


def test_a_folder_keeps_a_state_for_each_model_and_method(samples, tmp_path):
    model, data = samples
    folder = tmp_path / "states"
    folder.mkdir()
    ranges, calls = counted(model, data, MinMax(), folder)
    assert len(calls) == len(X)
    assert counted(model_from(TEXT), data, MinMax(), folder) == (ranges, []), "an equal model need not run again"
    other = model_from(TEXT.replace("Log", "Exp"))
    assert len(counted(other, data, MinMax(), folder)[1]) == len(X)
    assert len(counted(model, data, LeastSquares(), folder)[1]) == len(X)
    assert len(list(folder.iterdir())) == 3


def test_an_interruption_while_a_sample_runs_costs_that_sample(samples, tmp_path, monkeypatch):
    model, data = samples
    run, calls = module_of_looking.Looker.look, []

    def interrupted(self, batch):
        calls.append(batch)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(self, batch)

    monkeypatch.setattr(module_of_looking.Looker, "look", interrupted)
    with pytest.raises(KeyboardInterrupt):
        calibrate(model, data, state=tmp_path / "state", threads=1)
    ranges, done = counted(model, data, None, tmp_path / "state")
    assert done == [4, 5, 6, 7, 8]
    assert ranges == calibrate(model, data)


def test_it_is_written_from_time_to_time(samples, tmp_path, monkeypatch):
    """A process that is killed has no time to write anything."""
    model, _ = samples
    monkeypatch.setattr(module, "SECONDS", 0.0)
    sizes = []
    calibrate(
        model,
        Interrupted(None),
        state=tmp_path / "state",
        threads=1,
        progress=lambda done, total: sizes.append(module.Checkpoint(tmp_path / "state", {}).load().samples),
    )
    assert sizes == list(range(1, 9))


def test_more_samples_may_follow(samples, tmp_path):
    model, data = samples
    np.savez(tmp_path / "few.npz", x=X[:3])
    calibrate(model, open_samples(tmp_path / "few.npz", model), state=tmp_path / "state")
    ranges, calls = counted(model, data, None, tmp_path / "state")
    assert calls == [4, 5, 6, 7, 8]
    assert ranges == calibrate(model, data)


def test_what_belongs_to_something_else_is_refused(samples, tmp_path):
    model, data = samples
    state = tmp_path / "state"
    calibrate(model, data, state=state)
    before = state.read_bytes()
    with pytest.raises(InputError, match="belongs to another method; delete it to start anew"):
        calibrate(model, data, LeastSquares(), state=state)
    other = model_from(TEXT.replace("{1,2,3", "{9,2,3"))
    with pytest.raises(InputError, match="belongs to another model"):
        calibrate(other, data, state=state)
    renamed = model_from(TEXT.replace("b =", "bb =").replace("(b,", "(bb,"))
    with pytest.raises(InputError, match="belongs to another model"):
        calibrate(renamed, data, state=state)
    np.savez(tmp_path / "other.npz", x=X[::-1])
    with pytest.raises(InputError, match="belongs to other calibration data"):
        calibrate(model, open_samples(tmp_path / "other.npz", model), state=state)
    np.savez(tmp_path / "few.npz", x=X[:3])
    with pytest.raises(InputError, match="belongs to other calibration data"):
        calibrate(model, open_samples(tmp_path / "few.npz", model), state=state)
    assert state.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and nothing more"])
def test_other_files_are_refused(samples, tmp_path, content):
    model, data = samples
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(InputError, match="not a state of calibration"):
        calibrate(model, data, state=tmp_path / "state")
    assert (tmp_path / "state").read_bytes() == content


@pytest.mark.parametrize("change", ["pickle", "shape", "missing", "header", "names", "compressed", "index"])
def test_states_that_were_tampered_with_are_refused(samples, tmp_path, change):
    model, data = samples
    state = tmp_path / "state"
    calibrate(model, data, LeastSquares(), state=state)
    with np.load(state) as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header"].tobytes())
    if change == "pickle":
        arrays["1.counts"] = np.array([{}], dtype=object)
    elif change == "shape":
        arrays["0.extremes"] = np.zeros((4, 4))
    elif change == "missing":
        del arrays["1.counts"]
    elif change == "header":
        arrays["header"] = np.frombuffer(b"[1, 2", np.uint8)
    elif change == "names":
        arrays["header"] = np.frombuffer(json.dumps({**header, "names": 3}).encode(), np.uint8)
    elif change == "index":
        arrays["999.counts"] = np.zeros(3)
    with state.open("wb") as file:
        (np.savez_compressed if change == "compressed" else np.savez)(file, **arrays)
    assert zipfile.is_zipfile(state)
    with pytest.raises(InputError, match=r"state.*delete it to start anew"):
        calibrate(model, data, LeastSquares(), state=state)


def test_a_state_that_cannot_be_written(samples, tmp_path):
    model, data = samples
    with pytest.raises(UsageError, match="cannot be written"):
        calibrate(model, data, state=tmp_path / "none" / "state")
