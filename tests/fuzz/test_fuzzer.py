"""The fuzzer finds what is wrong, and little is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest

from fuzz import fuzzer as module
from fuzz.fuzzer import Fuzzer
from fuzz.judge import difference
from fuzz.patterns import patterns
from npuopt.graph import nodes


@dataclass(frozen=True)
class Wrong:
    """A pipeline that takes every Neg for an Abs."""

    def run(self, model) -> bool:
        for node in nodes(model, "Neg"):
            node.op_type = "Abs"
        return True


def test_patterns_come_from_the_property_tests_of_most_passes():
    names = {pattern.pass_type.name for pattern in patterns()}
    assert len(names) > 60
    assert {"fuse-gelu", "fold-constants", "lower-gemm"} <= names


def test_a_wrong_pipeline_is_found_and_written_down(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "draw_pipeline", lambda draw: Wrong())
    fuzzer = Fuzzer()
    fuzzer.run(0, 0)
    (find,) = fuzzer.finds
    folder = find.write(tmp_path)
    assert "differs by" in find.what
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "feeds.npz", "find.txt"}
    onnx.checker.check_model(onnx.load(folder / "model.onnx"))


def test_a_seed_draws_the_same_again(monkeypatch):
    monkeypatch.setattr(module, "draw_pipeline", lambda draw: Wrong())
    first, second = Fuzzer(), Fuzzer()
    first.round(3)
    second.round(3)
    assert first.counts == second.counts
    assert str(first.finds[0]) == str(second.finds[0])


@pytest.mark.slow
def test_a_few_rounds_find_nothing_and_change_most_graphs():
    fuzzer = Fuzzer()
    for seed in range(3):
        fuzzer.round(seed)
    assert not fuzzer.finds, fuzzer.finds[0]
    total = sum(fuzzer.counts.values())
    assert fuzzer.counts["changed"] > 0.4 * total, fuzzer.counts
    assert fuzzer.counts["not valid"] < 0.2 * total, fuzzer.counts


def test_the_judge_allows_last_bits_and_nothing_else():
    ones = {"y": np.ones(3, "f")}
    assert difference(ones, {"y": np.ones(3, "f") + np.float32(1e-6)}, {"y": 0.0}) is None
    assert "differs by 0.1" in str(difference(ones, {"y": np.ones(3, "f") + np.float32(0.1)}, {"y": 1e-5}))
    assert difference(ones, {"y": np.ones(3, "f") + np.float32(0.1)}, {"y": 1e-2}) is None
    assert "differs by inf" in str(difference(ones, {"y": np.array([1, 1, np.nan], "f")}, {"y": 0.0}))
    ends = np.array([np.finfo("f").max, np.finfo("f").min], "f")
    assert difference({"y": ends}, {"y": np.array([np.inf, -np.inf], "f")}, {"y": 0.0}) is None
    assert difference({"y": ends}, {"y": np.array([np.inf, np.inf], "f")}, {"y": 0.0}) is not None
    assert "is float32(1,)" in str(difference(ones, {"y": np.ones(1, "f")}, {"y": 0.0}))
    assert "not equal" in str(difference({"y": np.array([1])}, {"y": np.array([2])}, {}))
