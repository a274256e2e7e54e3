"""Asks about many one-op models at once: the ONNX front end, the NPU compiler's table, and the CPU device's numbers."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npuopt.delegates.arrays import load_arrays, save_arrays
from npuopt.delegates.openvino.delegate import TOOL, WORKER, interpreter
from npuopt.delegates.openvino.importer import LARGEST_RANK, refusal
from npuopt.delegates.process import run_child
from npuopt.target.probing.answer import Answer
from npuopt.target.probing.build import run_reference
from npuopt.target.probing.numbers import largest_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from npuopt.delegates.contract import Limits
    from npuopt.target.probing.build import Question

BATCH = 250
"""Models per child."""
LARGEST_ERROR = 0.016
"""Difference from ONNX Runtime, as a fraction of its largest magnitude, up to which numbers count as right: as for
the other roads; a quantized result may be one step of 8 bits away."""


def probe(questions: Sequence[Question], *, limits: Limits, progress: Callable[[int], None]) -> list[Answer]:
    """Convert each question's model, look its operations up, run it, and compare with ONNX Runtime.

    A node is taken when the front end converts it, the NPU compiler has a parser for everything that it becomes, and
    the CPU device computes what ONNX Runtime computes from the representation.
    """
    python = interpreter()
    answers: list[Answer] = []
    for first in range(0, len(questions), BATCH):
        answers += _ask_all(questions[first : first + BATCH], python, limits)
        progress(len(answers))
    return answers


def _ask_all(questions: Sequence[Question], python: str, limits: Limits) -> list[Answer]:
    """Ask until every question has its answer: after a crash, a new child takes the questions behind it."""
    answers: dict[int, Answer] = {}
    with tempfile.TemporaryDirectory(prefix="npuopt-probe-") as scratch:
        folder = Path(scratch)
        items = [_write(index, question, folder) for index, question in enumerate(questions)]
        while len(answers) < len(items):
            results = folder / f"results-{len(answers)}.jsonl"
            left = [item for item in items if int(item["name"]) not in answers]
            request = {"operation": "probe", "models": left, "results": str(results)}
            child = run_child(WORKER, request, log=folder / "probe.log", limits=limits, python=python)
            running, before = None, len(answers)
            for said in _lines(results):
                running = int(said["started"]) if "started" in said else None
                if running is None:
                    index = int(said["name"])
                    answers[index] = _judge(questions[index], said, folder / f"{index}-out.npz")
            if running is not None:
                detail = f" ({child.detail})" if child.detail else ""
                answers[running] = Answer(taken=False, reason=f"OpenVINO {child.ending}{detail}")
            elif len(answers) == before:
                child.require(TOOL)
                raise AssertionError("a child answered nothing and was not blamed")
    return [answers[index] for index in range(len(questions))]


def _write(index: int, question: Question, folder: Path) -> dict[str, Any]:
    model, given = folder / f"{index}.onnx", folder / f"{index}-in.npz"
    model.write_bytes(question.model.SerializeToString())
    save_arrays(given, list(question.sample.values()))
    return {
        "name": str(index),
        "model": str(model),
        "names": list(question.sample),
        "inputs": str(given),
        "results": [value.name for value in question.model.graph.output],
        "outputs": str(folder / f"{index}-out.npz"),
    }


def _judge(question: Question, said: dict[str, Any], outputs: Path) -> Answer:
    operations = [str(kind) for _, kind in said.get("operations", ())]
    if why := next((why for kind in operations if (why := refusal(kind))), ""):
        return Answer(taken=False, reason=why)
    if said.get("rank", 0) > LARGEST_RANK:
        return Answer(taken=False, reason=f"rank {said['rank']}; the NPU compiler's importer takes {LARGEST_RANK}")
    if "f64" in said.get("types", ()):
        return Answer(taken=False, reason="the NPU has no float64")
    if "refused" in said:
        return Answer(taken=False, reason=" ".join(str(said["refused"]).split())[-300:])
    reference = run_reference(question.model, question.sample)
    if reference is None:
        return Answer(taken=True)
    made = dict(zip((value.name for value in question.model.graph.output), load_arrays(outputs), strict=True))
    error = max((largest_error(reference[name], made[name]) for name in made), default=0.0)
    if error > LARGEST_ERROR:
        reason = f"computes other numbers than ONNX Runtime: off by {error:.3g} of the largest"
        return Answer(taken=False, reason=reason, compared=True, error=error)
    return Answer(taken=True, compared=True, error=error)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what a child told; one that crashed may leave its last line unfinished."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            yield json.loads(line)
