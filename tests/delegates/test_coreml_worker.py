"""What the worker hands to Core ML, by a model that stands in for Core ML's."""

import sys
from types import ModuleType

import numpy as np
import pytest

from npuopt.delegates.coreml import worker


class Model:
    """Adds x to its state, which it returns doubled."""

    def __init__(self, path):
        assert path == "model.mlpackage"

    def make_state(self):
        return State()

    def predict(self, given, state=None):
        assert list(given) == ["x"], "a state is no input"
        state.held = state.held + given["x"].astype(np.float16)
        return {"y": 2 * state.held.astype(np.float32)}


class State:
    held = None

    def write_state(self, name, value):
        assert (name, value.dtype) == ("cache", np.float16)
        self.held = value

    def read_state(self, name):
        assert name == "cache"
        return self.held


@pytest.fixture
def core_ml(monkeypatch):
    module = ModuleType("coremltools")
    module.models = ModuleType("models")
    module.models.MLModel = Model
    monkeypatch.setitem(sys.modules, "coremltools", module)


def test_states_are_written_before_a_run_and_read_after_it(core_ml, tmp_path):
    x, cache = np.array([1, 2], np.float32), np.array([10, 20], np.float32)
    np.savez(tmp_path / "in.npz", **{"0": cache, "1": x})
    request = {
        "model": "model.mlpackage",
        "names": ["cache", "x"],
        "results": ["y", "after"],
        "states": [[0, 1]],
        "inputs": [str(tmp_path / "in.npz")] * 2,
        "outputs": [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")],
    }
    assert worker.run(request) == {}
    for name in ("a.npz", "b.npz"):
        made = np.load(tmp_path / name)
        assert made["0"].tolist() == [22, 44]
        assert made["1"].tolist() == [11, 22], "each sample begins with its own cache"
