"""Looks at models: tells two apart, cuts a part out, finds the pass and the node that changed the numbers."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any

from npuopt import graph
from npuopt.errors import InputError
from npuopt.graph import Session, dims, element_type, load, save
from npuopt.graph.text import diff, to_text
from npuopt.pipeline.catalogue import group_of
from npuopt.pipeline.runner import Runner
from npuopt.quantization import open_samples
from npuopt.road.optimizing import Optimizer
from npuopt.road.options import silent
from npuopt.verify import compare_runs, seeded_inputs
from npuopt.verify.bisect import CulpritFoundError, Watch, find_node
from npuopt.verify.each import differences
from npuopt.verify.structure import compare_structure, describe_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from npuopt.graph import Model, Value
    from npuopt.road.optimizing import Wanted
    from npuopt.road.options import Say

    Arrays = Mapping[str, np.ndarray]

SEEDS = (0, 1)


def compare(
    before: Path,
    after: Path,
    *,
    sizes: Mapping[str, int] | None = None,
    inputs: Path | None = None,
    tolerance: float | None = None,
    with_diff: bool = False,
    say: Say = silent,
) -> dict[str, Any]:
    """Tell two ONNX files apart in structure and in numbers; returns what `compare --json` prints.

    The structure is compared in the canonical opset. The numbers are those of the files as they are, run in ONNX
    Runtime without its optimizations on the same inputs. The second model may lack inputs of the first.

    Args:
        before: the reference.
        after: the other model.
        sizes: of symbolic dims that neither file fixes.
        inputs: a .npz whose arrays' leading axis counts samples; two seeded samples where None.
        tolerance: largest difference relative to an output's largest value; by element type where None.
        with_diff: add a line-by-line `diff` of both graphs as ONNX text.
        say: told what is being done.

    Raises:
        InputError: when a file is no model, or both cannot be run on the same inputs.
    """
    say("comparing structure")
    left, right = load(before), load(after)
    record: dict[str, Any] = {"before": str(before), "after": str(after)}
    record["structure"] = compare_structure(left, right).to_json()
    if with_diff:
        record["diff"] = diff(to_text(left), to_text(right))
    say("comparing numbers")
    feeds = _common_feeds(left, right, sizes or {}, inputs, where=str(after))
    first, second = (_run(path, feeds) for path in (before, after))
    common = [name for name in first[0] if name in second[0]]
    if not common:
        raise InputError("has no output of the same name", where=str(after), hint=f"{before} has {', '.join(first[0])}")
    held = {name: difference <= allowed for name, difference, allowed in _worst(first, second, tolerance)}
    measured = compare_runs([_comparable(run, other) for run, other in zip(first, second, strict=True)], second)
    record["samples"] = len(feeds)
    record["outputs"] = {
        name: {"equal": held[name], **_finite(asdict(measured[name]) if name in measured else {})} for name in common
    }
    record["equal"] = all(held.values()) and len(common) == len(first[0]) == len(second[0])
    return record


def extract(model: Path, output: Path, *, starts: Sequence[str] = (), ends: Sequence[str] = ()) -> dict[str, Any]:
    """Cut the part of a model that computes `ends` from `starts` out into a file of its own.

    Args:
        model: the ONNX file.
        output: the file to write.
        starts: tensors that become inputs; the graph inputs that are needed where empty.
        ends: tensors that become outputs; the graph outputs where empty.

    Raises:
        UsageError: for a name that does not exist, ends that need more than the starts give, starts nobody needs.
    """
    part = graph.extract(load(model), starts, ends)
    save(part, output)
    return {
        "output": str(output),
        "nodes": len(part.graph),
        "inputs": [_describe(value) for value in part.graph.inputs],
        "outputs": [_describe(value) for value in part.graph.outputs],
    }


def bisect(
    model: Path,
    *,
    wanted: Wanted,
    inputs: Path | None = None,
    tolerance: float | None = None,
    say: Say = silent,
) -> dict[str, Any]:
    """Run what `optimize` would run and find the pass, then the node, that changes the numbers.

    Args:
        model: the ONNX file.
        wanted: which passes to run, and for what; its dims say how large the inputs are.
        inputs: a .npz whose arrays' leading axis counts samples; two seeded samples where None.
        tolerance: largest difference relative to an output's largest value; by element type where None.
        say: told what is being done.

    Returns:
        What `bisect --json` prints: `pass` is None when no pass changes the numbers.
    """
    optimizer = Optimizer(wanted)
    loaded = load(model)
    say("drawing inputs" if inputs is None else f"reading {inputs}")
    feeds = _feeds(loaded, optimizer.dims, inputs)
    watch = Watch(feeds, tolerance)
    record: dict[str, Any] = {"model": str(model), "samples": len(feeds), "pass": None}
    try:
        optimizer.apply(loaded, Runner(optimizer.target, "off", [watch]), say=say)
    except CulpritFoundError as found:
        suspect = found.suspect
        say(f"looking into {suspect.step.name}")
        culprit = find_node(suspect, optimizer.target, feeds, tolerance)
        record |= {
            "pass": suspect.step.name,
            "group": group_of(type(suspect.step)),
            "output": suspect.output,
            **_finite({"difference": suspect.difference}),
            "node": None if culprit is None else asdict(culprit),
        }
    record["compared"] = watch.compared
    return record


def _feeds(model: Model, sizes: Mapping[str, int], inputs: Path | None) -> list[dict[str, np.ndarray]]:
    if inputs is not None:
        return [dict(sample) for sample in open_samples(inputs, model)]
    return [seeded_inputs(model, seed, sizes) for seed in SEEDS]


def _common_feeds(
    left: Model, right: Model, sizes: Mapping[str, int], inputs: Path | None, *, where: str
) -> list[dict[str, np.ndarray]]:
    """Draw inputs for the first model in sizes that fit the second one too."""
    known = {value.name: value for value in left.graph.inputs}
    agreed = dict(sizes)
    for value in right.graph.inputs:
        if value.is_initializer():
            continue
        first = known.get(value.name)
        if first is None or not _may_be_same(first, value):
            takes = ", ".join(_describe(item) for item in left.graph.inputs)
            raise InputError(f"takes {_describe(value)}, which the first model does not", where=where, hint=takes)
        for axis, dim in enumerate(dims(value) or ()):
            if isinstance(dim, int):
                name = (dims(first) or ())[axis] if dims(first) else None
                agreed.setdefault(name if isinstance(name, str) else f"{value.name}:{axis}", dim)
    return _feeds(left, agreed, inputs)


def _may_be_same(first: Value, second: Value) -> bool:
    left, right = dims(first), dims(second)
    if element_type(first) != element_type(second):
        return False
    if left is None or right is None:
        return True
    pairs = zip(left, right, strict=False)
    return len(left) == len(right) and all(
        not isinstance(mine, int) or not isinstance(theirs, int) or mine == theirs for mine, theirs in pairs
    )


def _worst(first: list[Arrays], second: list[Arrays], tolerance: float | None) -> list[tuple[str, float, float]]:
    """Return the largest difference of each output over all samples."""
    worst: dict[str, tuple[str, float, float]] = {}
    for found in differences(first, second, tolerance):
        name, difference, _ = found
        if name not in worst or not difference <= worst[name][1]:
            worst[name] = found
    return list(worst.values())


def _comparable(run: Arrays, other: Arrays) -> dict[str, np.ndarray]:
    """Return the outputs of numbers that have the same shape in both."""
    found = {name: array for name, array in run.items() if name in other and array.dtype.kind not in "OSU"}
    return {name: array for name, array in found.items() if array.shape == other[name].shape}


def _run(path: Path, feeds: list[dict[str, np.ndarray]]) -> list[Arrays]:
    session = Session(path)
    return [session.run(feed) for feed in feeds]


def _describe(value: Value) -> str:
    return f"{value.name} {describe_value(value)}"


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    """Write what JSON has no number for as None."""
    return {key: None if isinstance(item, float) and not isfinite(item) else item for key, item in record.items()}
