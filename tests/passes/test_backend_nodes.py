"""ONNX's own node tests through the whole pipelines: a refusal with a reason is fine, another number is not."""

from __future__ import annotations

import warnings
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.node import collect_testcases

from npuopt.errors import NpuoptError
from npuopt.graph import Session, load, nodes, save
from npuopt.pipeline.catalogue import make_pass
from npuopt.pipeline.recipes import CLEAN, FUSE
from npuopt.pipeline.runner import Runner
from npuopt.road.preparation import Legalize, lowerings
from npuopt.target import load_target

if TYPE_CHECKING:
    from pathlib import Path

    from onnx.backend.test.case.test_case import TestCase

    from npuopt.pipeline import Lowering, Pass
    from npuopt.target import Target

    Result = np.ndarray | list[np.ndarray]

TOLERANCE = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-4}
"""Relative to the largest value; any other type must be equal."""

RANDOM = {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}
LEAST_CHANGED = {None: 300, "qualcomm/sm8750": 80, "qualcomm/qcs6490": 150, "host/x86-64": 50}
"""Cases that each step must change, in order. None: clean and fuse, whose result the targets are given.

The other targets' op rules differ from these in few places.
"""


@cache
def cases() -> list[TestCase]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases' own numpy code overflows and divides by zero on purpose
        return [case for case in collect_testcases(None) if case.model is not None]


@cache
def passes() -> tuple[list[Pass], list[Pass], tuple[Lowering, ...]]:
    return [make_pass(name) for name in CLEAN], [make_pass(name) for name in FUSE], tuple(lowerings())


@pytest.mark.slow
@pytest.mark.parametrize("constants", [False, True], ids=["run-time inputs", "constant inputs"])
def test_no_pipeline_gives_other_numbers(constants: bool, tmp_path: Path) -> None:
    targets = {name: load_target(name) if name else None for name in LEAST_CHANGED}
    counts: dict[str | None, Counter[str]] = {name: Counter() for name in targets}
    unused: Counter[str] = Counter()
    wrong: list[str] = []
    for case in cases():
        path = tmp_path / "case.onnx"
        feeds = write(case, path, constants=constants)
        expected = answers(case, path, feeds)
        if isinstance(expected, str):
            unused[expected] += 1
            continue
        for name, target in targets.items():
            verdict = examine(path, feeds, expected, target)
            counts[name][verdict if verdict in ("left alone", "same numbers") else "wrong"] += 1
            if verdict not in ("left alone", "same numbers"):
                wrong.append(f"{case.name} for {name}: {verdict}")
    print(f"not used: {dict(unused)}")
    print("\n".join(f"{name or 'clean and fuse'}: {dict(found)}" for name, found in counts.items()))
    assert not wrong, "\n".join(wrong)
    few = {name: found for name, found in counts.items() if found["same numbers"] < LEAST_CHANGED[name]}
    assert not few, "too few cases are changed for this test to say much"


def write(case: TestCase, path: Path, *, constants: bool) -> dict[str, Result]:
    """Write the case's model, all inputs but the first made constant if asked, and return its inputs."""
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    names = [value.name for value in proto.graph.input]
    feeds = dict(zip(names, map(as_array, case.data_sets[0][0]), strict=True))
    if constants:
        for value in list(proto.graph.input)[1:]:
            array = feeds[value.name]
            if isinstance(array, np.ndarray) and value.type.HasField("tensor_type"):
                proto.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
                proto.graph.input.remove(value)
    path.write_bytes(proto.SerializeToString())
    return feeds


def answers(case: TestCase, path: Path, feeds: dict[str, Result]) -> dict[str, Result] | str:
    """Return what the case computes in ONNX Runtime, or why it is no use here."""
    if any(node.op_type in RANDOM for node in case.model.graph.node):
        return "random"
    try:
        outputs = Session(load(path), threads=1).run(feeds)
    except NpuoptError:
        return "not run by ONNX Runtime as it is"
    wanted = dict(zip(outputs, map(as_array, case.data_sets[0][1]), strict=False))
    try:
        assert_same(wanted, {name: outputs[name] for name in wanted})
    except AssertionError:
        return "ONNX Runtime differs from ONNX"
    return outputs


def examine(path: Path, feeds: dict[str, Result], expected: dict[str, Result], target: Target | None) -> str:
    """Clean and fuse the file's model, or fit it to the target, and say in the words of the fault what came of it."""
    model = load(path)
    before = nodes(model)
    clean, fuse, taking_apart = passes()
    runner = Runner(target, "off")
    if target is None:
        runner.run_until_stable(model, clean)
        runner.run_until_stable(model, [*fuse, *clean])
        save(model, path)
    else:
        runner.run(model, [Legalize(taking_apart, target.float_scheme)])
        runner.run_until_stable(model, clean)
    if nodes(model) == before:
        return "left alone"
    try:
        assert_same(expected, Session(model, threads=1).run(feeds))
    except (AssertionError, NpuoptError) as error:
        return str(error)
    return "same numbers"


def as_array(value: object) -> np.ndarray | list[np.ndarray]:
    """Return a tensor as an array, a sequence as a list of them."""
    if isinstance(value, list):
        return [np.asarray(item) for item in value]
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def assert_same(expected: dict[str, Result], got: dict[str, Result]) -> None:
    for name, wanted_items in expected.items():
        assert isinstance(wanted_items, list) == isinstance(got[name], list), name
        pairs = zip(as_items(wanted_items), as_items(got[name]), strict=True)
        for wanted, answer in pairs:
            assert_array_same(name, wanted, answer)


def as_items(value: Result) -> list[np.ndarray]:
    return value if isinstance(value, list) else [value]


def assert_array_same(name: str, wanted: np.ndarray, answer: np.ndarray) -> None:
    assert (answer.shape, answer.dtype) == (wanted.shape, wanted.dtype), name
    allowed = TOLERANCE.get(str(wanted.dtype))
    if allowed is None:
        np.testing.assert_array_equal(answer, wanted, err_msg=name)
    else:
        finite = np.abs(wanted[np.isfinite(wanted)].astype(np.float64))
        np.testing.assert_allclose(
            answer.astype(np.float64),
            wanted.astype(np.float64),
            rtol=allowed,
            atol=allowed * finite.max(initial=0.0),
            err_msg=name,
        )
