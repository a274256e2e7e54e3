"""Samples go through a worker in one child, by position, and come back by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from npuopt.delegates.contract import Limits
from npuopt.delegates.sample_runs import SampleRunner
from npuopt.errors import InputError, VendorToolError

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = Limits(seconds=60, memory_mib=2048)
HEADER = onnx.parser.parse_model(
    '<ir_version: 10, opset_import: ["": 21]> g (float[2] x, float[2] z) => (float[2] less, float[2] more) { }'
)
WORKER = """
import json, sys
import numpy as np
request = json.load(open(sys.argv[1]))
assert request["names"] == ["x", "z"], request["names"]
for given, made in zip(request["inputs"], request["outputs"]):
    with np.load(given) as arrays:
        x, z = arrays["0"], arrays["1"]
    np.savez(made, **{"0": x - z, "1": x + z})
json.dump(json.loads(request["answer"]), open(sys.argv[2], "w"))
"""


def test_results_have_the_names_of_the_model(tmp_path: Path) -> None:
    samples = [{"z": _pair(1, 2), "x": _pair(10, 20)}, {"z": _pair(3, 4), "x": _pair(30, 40)}]
    results, answer = _runner(tmp_path).run({"answer": '{"seconds": 1}'}, HEADER, samples, where="npu-0", limits=LIMITS)
    assert [{name: array.tolist() for name, array in result.items()} for result in results] == [
        {"less": [9, 18], "more": [11, 22]},
        {"less": [27, 36], "more": [33, 44]},
    ]
    assert answer == {"seconds": 1}


def test_a_worker_may_tell_its_own_order(tmp_path: Path) -> None:
    samples = [{"z": _pair(1, 2), "x": _pair(10, 20)}]
    results, _ = _runner(tmp_path).run(
        {"answer": '{"outputs": ["b", "a"]}'}, HEADER, samples, where="npu-0", limits=LIMITS
    )
    assert {name: array.tolist() for name, array in results[0].items()} == {"b": [9, 18], "a": [11, 22]}


def test_no_child_is_started_for_a_sample_that_does_not_fit(tmp_path: Path) -> None:
    runner = SampleRunner("the simulator", tmp_path / "none.py")
    samples = [{"x": _pair(1, 2), "z": _pair(1, 2)}, {"x": _pair(1, 2)}]
    with pytest.raises(InputError, match="input 'z': is missing from the sample"):
        runner.run({}, HEADER, samples, where="npu-0", limits=LIMITS)


def test_a_refusal_names_who_refused_what(tmp_path: Path) -> None:
    samples = [{"z": _pair(1, 2), "x": _pair(10, 20)}]
    with pytest.raises(VendorToolError, match="npu-0: the simulator refused it: no board"):
        _runner(tmp_path).run({"answer": '{"refused": "no board"}'}, HEADER, samples, where="npu-0", limits=LIMITS)


def _runner(folder: Path) -> SampleRunner:
    (folder / "worker.py").write_text(WORKER, encoding="utf-8")
    return SampleRunner("the simulator", folder / "worker.py")


def _pair(first: float, second: float) -> np.ndarray:
    return np.array([first, second], np.float32)
