"""Asks RKNN-Toolkit2 about many one-op models: one child process builds and simulates a whole batch."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npuopt.delegates.arrays import load_arrays, save_arrays
from npuopt.delegates.process import run_child
from npuopt.delegates.rknn.delegate import COMPILER, OPSET, TOOLCHAIN, WORKER
from npuopt.delegates.rknn.opset import write_down
from npuopt.delegates.rknn.placement import nodes_on_device
from npuopt.errors import VendorToolError
from npuopt.target.probing.answer import Answer
from npuopt.target.probing.build import run_reference
from npuopt.target.probing.numbers import largest_error
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from npuopt.delegates.contract import Limits
    from npuopt.target.probing.build import Question
    from npuopt.target.roads import RknnDelegate

BATCH = 100
"""Models per child; the toolkit takes about 0.15 s for each and 3 s to start."""
LARGEST_ERROR = 0.016
"""Difference from ONNX Runtime, as a fraction of its largest magnitude, up to which numbers count as right."""
CONVERTS = ("QuantizeLinear", "DequantizeLinear")
"""Conversions around the node that is asked about; hosts do those at the edge."""


def probe(
    questions: Sequence[Question], chip: RknnDelegate, *, limits: Limits, progress: Callable[[int], None]
) -> list[Answer]:
    """Build each question's model, see in the table of layers where the node went, simulate it and compare."""
    answers: list[Answer] = []
    for first in range(0, len(questions), BATCH):
        answers += _Batch(questions[first : first + BATCH], chip, limits).answers()
        progress(len(answers))
    return answers


class _Batch:
    """Some questions, asked in as few children as crashes allow."""

    def __init__(self, questions: Sequence[Question], chip: RknnDelegate, limits: Limits) -> None:
        self.questions = questions
        self.chip = chip
        self.limits = limits
        self.known: dict[int, Answer] = {}

    def answers(self) -> list[Answer]:
        """Ask until every question has its answer: after a crash, a new child takes the questions behind it."""
        python = environment(TOOLCHAIN).python
        with tempfile.TemporaryDirectory(prefix="npuopt-probe-") as scratch:
            folder = Path(scratch)
            items = [item for index in range(len(self.questions)) if (item := self._write(index, folder)) is not None]
            while left := [item for item in items if int(item["name"]) not in self.known]:
                before = len(self.known)
                self._ask(left, folder, python)
                if len(self.known) == before:
                    raise AssertionError("a child answered nothing and was not blamed")
        return [self.known[index] for index in range(len(self.questions))]

    def _write(self, index: int, folder: Path) -> dict[str, Any] | None:
        """Write a question's files; None when the toolkit's opset cannot say it, which is its answer."""
        question, model, given = self.questions[index], folder / f"{index}.onnx", folder / f"{index}-in.npz"
        model.write_bytes(question.model.SerializeToString())
        try:
            write_down(model, model, self.chip.max_opset or OPSET)
        except VendorToolError as error:
            self.known[index] = Answer(taken=False, reason=error.what)
            return None
        save_arrays(given, list(question.sample.values()))
        outputs = str(folder / f"{index}-out.npz")
        return {"name": str(index), "model": str(model), "inputs": str(given), "outputs": outputs}

    def _ask(self, items: list[dict[str, Any]], folder: Path, python: str) -> None:
        results = folder / f"results-{len(self.known)}.jsonl"
        request = {
            "operation": "probe",
            "models": items,
            "results": str(results),
            "platform": self.chip.platform,
            "folder": str(folder),
        }
        child = run_child(WORKER, request, log=folder / "probe.log", limits=self.limits, python=python)
        running: int | None = None
        for said in _lines(results):
            running = int(said["started"]) if "started" in said else None
            if running is None:
                index = int(said["name"])
                self.known[index] = _judge(self.questions[index], said, folder / f"{index}-out.npz")
        if running is not None:
            detail = f" ({child.detail})" if child.detail else ""
            self.known[running] = Answer(taken=False, reason=f"the toolkit {child.ending}{detail}")
        elif int(items[0]["name"]) not in self.known:
            child.require(COMPILER)


def _judge(question: Question, said: dict[str, Any], outputs: Path) -> Answer:
    if "refused" in said:
        return Answer(taken=False, reason=" ".join(str(said["refused"]).split())[-300:])
    nodes = [(node.name, node.op_type) for node in question.model.graph.node]
    placed = nodes_on_device(nodes, said["layers"], said["not_lowered"])
    strays = [node for node in placed if not node.on_npu and node.op_type not in CONVERTS]
    if strays:
        return Answer(taken=False, reason=strays[0].reason)
    reference = run_reference(question.model, question.sample)
    if reference is None:
        return Answer(taken=True)
    names = [value.name for value in question.model.graph.output]
    made = {
        name: array.reshape(reference[name].shape)
        for name, array in zip(names, load_arrays(outputs), strict=True)
        if array.size == reference[name].size
    }
    if len(made) != len(names):
        return Answer(taken=False, reason="computes another number of elements than ONNX Runtime")
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
