"""ONNX's own node tests through the whole pipelines: a refusal with a reason is fine, another number is not."""

from __future__ import annotations

import json
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
from npuopt.graph.fingerprint import fingerprint
from npuopt.pipeline.catalogue import make_pass
from npuopt.pipeline.recipes import CLEAN, FUSE, LAYOUT, MOVE
from npuopt.pipeline.runner import Runner
from npuopt.road.preparation import Legalize, lowerings
from npuopt.target import list_targets, load_target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from onnx.backend.test.case.test_case import TestCase

    from npuopt.graph import Model
    from npuopt.pipeline import Lowering, Pass
    from npuopt.target import Target

    Result = np.ndarray | list[np.ndarray]

TOLERANCE = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-4}
"""Relative to the largest value; any other type must be equal."""

RANDOM = {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}
STANDARD = "clean, fuse, layout and move"
"""The pipeline without a target, whose result the targets are given."""
PARTS = 4
"""Every test takes one case of so many, as all of them take minutes."""
LEAST_CHANGED = {STANDARD: 40, "qualcomm/sm8750": 15, "qualcomm/qcs6490": 30, "host/x86-64": 10}
"""Cases of a part that these pipelines must change; others may find nothing to lower in a part."""


@cache
def cases() -> list[TestCase]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases' own numpy code overflows and divides by zero on purpose
        return [case for case in collect_testcases(None) if case.model is not None]


@cache
def passes() -> tuple[list[Pass], list[Pass], list[Pass], tuple[Lowering, ...]]:
    clean, fuse, moves = ([make_pass(name) for name in group] for group in (CLEAN, FUSE, (*LAYOUT, *MOVE)))
    return clean, fuse, moves, tuple(lowerings())


@cache
def pipelines() -> dict[str, Target | None]:
    """Return the standard order and lowering for each target, one of those that share all rules."""
    found: dict[str, Target | None] = {STANDARD: None}
    seen: set[str] = set()
    for name in sorted(list_targets(), key=lambda name: (name not in LEAST_CHANGED, name)):
        target = load_target(name)
        facts = target.descriptor.model_dump(mode="json", include={"ops", "shapes", "schemes"})
        if (key := json.dumps(facts, sort_keys=True)) not in seen:
            seen.add(key)
            found[name] = target
    return found


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("constants", [False, True], ids=["run-time inputs", "constant inputs"])
def test_no_pipeline_gives_other_numbers(constants: bool, part: int, tmp_path: Path) -> None:
    counts: dict[str, Counter[str]] = {name: Counter() for name in pipelines()}
    unused: Counter[str] = Counter()
    wrong: list[str] = []
    for case in cases()[part::PARTS]:
        path = tmp_path / "case.onnx"
        if constants and not others(case.model):
            unused["the same with run-time inputs"] += 1
            continue
        feeds = write(case, path, constants=constants)
        expected = answers(case, path, feeds)
        if isinstance(expected, str):
            unused[expected] += 1
            continue
        for name, verdict in verdicts(path, feeds, expected):
            counts[name][verdict if verdict in ("left alone", "same numbers") else "wrong"] += 1
            if verdict not in ("left alone", "same numbers"):
                wrong.append(f"{case.name} for {name}: {verdict}")
    print(f"not used: {dict(unused)}")
    print("\n".join(f"{name}: {dict(found)}" for name, found in counts.items()))
    assert not wrong, "\n".join(wrong)
    few = {name: found for name, found in counts.items() if found["same numbers"] < LEAST_CHANGED.get(name, 0)}
    assert not few, "too few cases are changed for this test to say much"


def others(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """List the inputs that can be made constant while the model has one left: tensors other than the first."""
    return [value for value in list(model.graph.input)[1:] if value.type.HasField("tensor_type")]


def write(case: TestCase, path: Path, *, constants: bool) -> dict[str, Result]:
    """Write the case's model, all inputs but the first made constant if asked, and return its inputs."""
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    names = [value.name for value in proto.graph.input]
    feeds = dict(zip(names, map(as_array, case.data_sets[0][0]), strict=True))
    if constants:
        for value in others(proto):
            array = feeds[value.name]
            if isinstance(array, np.ndarray):
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


def verdicts(path: Path, feeds: dict[str, Result], expected: dict[str, Result]) -> Iterator[tuple[str, str]]:
    """Run every pipeline on the file's model and yield its name and what came of it.

    The standard order's result is what the targets are given, a new copy once a target has changed it.

    Args:
        path: the model; the standard order's result takes its place.
        feeds: its inputs.
        expected: its outputs.
    """
    judged: dict[str, str] = {}
    """What was said of the graphs that this case became for other targets."""
    model: Model | None = None
    for name, target in pipelines().items():
        if model is None:
            model = load(path)
        before = nodes(model)
        if target is None:
            in_standard_order(model)
            save(model, path)
        else:
            told = fitted(model, target)
            assert told or nodes(model) == before, f"lowering for {name} changed {path} and did not say so"
        if nodes(model) == before:
            yield name, "left alone"
            continue
        made = fingerprint(model)
        if made not in judged:
            judged[made] = judge(model, feeds, expected)
        yield name, judged[made]
        model = None


def in_standard_order(model: Model) -> None:
    clean, fuse, moves, _ = passes()
    runner = Runner(None, "off")
    runner.run_until_stable(model, clean)
    runner.run_until_stable(model, [*fuse, *clean])
    runner.run_until_stable(model, [*moves, *clean])


def fitted(model: Model, target: Target) -> bool:
    """Lower what the target refuses, clean up behind that, and say whether there was anything."""
    clean, _, _, taking_apart = passes()
    runner = Runner(target, "off")
    (report,) = runner.run(model, [Legalize(taking_apart, target.float_scheme)])
    if report.changed:
        runner.run_until_stable(model, clean)
    return bool(report.changed)


def judge(model: Model, feeds: dict[str, Result], expected: dict[str, Result]) -> str:
    """Say that the model computes what is expected, or in the words of the fault what it does."""
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
