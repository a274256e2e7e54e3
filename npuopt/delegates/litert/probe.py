"""Asks a tool that runs TFLite models about many one-op models: each is exported, run and held against ONNX Runtime."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npuopt.delegates.arrays import load_arrays, save_arrays
from npuopt.delegates.litert.delegate import kernels_of
from npuopt.delegates.litert.export import Exported, export
from npuopt.delegates.litert.interpret import INTERPRETER, WORKER
from npuopt.delegates.litert.toolchain import ensure_available
from npuopt.delegates.process import run_child
from npuopt.errors import InputError
from npuopt.target.probing.answer import Answer
from npuopt.target.probing.build import NODE, Question, run_reference
from npuopt.target.probing.numbers import largest_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target

BATCH = 250
"""Models per child. To start one costs 0.4 s, a model about 1 ms."""
LARGEST_ERROR = 0.016
"""Difference from ONNX Runtime, as a fraction of its largest magnitude, up to which numbers count as right: two steps
of an 8-bit output, and one more where the kernel looks its results up in a table."""


def probe(
    questions: Sequence[Question], target: Target, *, limits: Limits, progress: Callable[[int], None] = lambda _: None
) -> list[Answer]:
    """Export and run every question's model, and compare its numbers with ONNX Runtime's.

    Args:
        questions: one-op models; those between QuantizeLinear and DequantizeLinear must be computed in integers.
        target: whose kernels are used.
        limits: of each batch.
        progress: called with the number of questions answered so far.
    """
    ensure_available()
    runner = Runner(INTERPRETER, WORKER, {"kernels": kernels_of(target)}, interpreted=True)
    return probe_with(questions, runner, limits=limits, progress=progress)


@dataclass(frozen=True)
class Runner:
    """A tool that runs TFLite models.

    Attributes:
        tool: what it is, for sentences.
        worker: the program that does requests of the operation `probe`.
        settings: go into each request.
        interpreted: LiteRT's own kernels compute the numbers.
        python: interpreter that has the tool.
    """

    tool: str
    worker: Path
    settings: Mapping[str, str]
    interpreted: bool = False
    python: str = sys.executable


def probe_with(
    questions: Sequence[Question], runner: Runner, *, limits: Limits, progress: Callable[[int], None] = lambda _: None
) -> list[Answer]:
    """Export every question's model, let `runner` run it, and compare its numbers with ONNX Runtime's."""
    answers: list[Answer] = []
    for first in range(0, len(questions), BATCH):
        with tempfile.TemporaryDirectory(prefix="npuopt-probe-") as scratch:
            answers += _Batch(questions[first : first + BATCH], Path(scratch), runner, limits).answers()
        progress(len(answers))
    return answers


class _Batch:
    """Some questions, asked in as few children as crashes allow."""

    def __init__(self, questions: Sequence[Question], folder: Path, runner: Runner, limits: Limits) -> None:
        self.questions = questions
        self.folder = folder
        self.runner = runner
        self.limits = limits
        self.exported: dict[int, Exported] = {}
        self.known: dict[int, Answer] = {}

    def answers(self) -> list[Answer]:
        """Export all, then run until every question has its answer: after a crash, a new child goes on behind it."""
        for index, question in enumerate(self.questions):
            try:
                self._export(index, question)
            except InputError as error:
                self.known[index] = Answer(taken=False, reason=str(error))
        while len(self.known) < len(self.questions):
            self._ask()
        return [self.known[index] for index in range(len(self.questions))]

    def _export(self, index: int, question: Question) -> None:
        model = self.folder / f"{index}.onnx"
        model.write_bytes(question.model.SerializeToString())
        exported = export(model, model.with_suffix(".tflite"), interpreted=self.runner.interpreted)
        if NODE in exported.in_float and NODE not in exported.by_choice:
            self.known[index] = Answer(taken=False, reason=exported.in_float[NODE])
            return
        save_arrays(
            self.folder / f"{index}-in.npz", [port.store(question.sample[port.name]) for port in exported.inputs]
        )
        self.exported[index] = exported

    def _ask(self) -> None:
        results = self.folder / f"results-{len(self.known)}.jsonl"
        waiting = [index for index in range(len(self.questions)) if index not in self.known]
        request = {
            "operation": "probe",
            "models": [self._item(index) for index in waiting],
            **self.runner.settings,
            "results": str(results),
        }
        log, runner = self.folder / "probe.log", self.runner
        child = run_child(runner.worker, request, log=log, limits=self.limits, python=runner.python)
        running: int | None = None
        told = list(_read_lines(results))
        for result in told:
            running = int(result["started"]) if "started" in result else None
            if running is None:
                index = int(result["name"])
                self.known[index] = self._judge(index, result)
        if running is not None:
            detail = f" ({child.detail})" if child.detail else ""
            self.known[running] = Answer(taken=False, reason=f"{runner.tool} {child.ending}{detail}")
        elif not told:
            child.require(runner.tool)

    def _item(self, index: int) -> dict[str, str]:
        given, made = self.folder / f"{index}-in.npz", self.folder / f"{index}-out.npz"
        model = self.folder / f"{index}.tflite"
        return {"name": str(index), "model": str(model), "inputs": str(given), "outputs": str(made)}

    def _judge(self, index: int, result: dict[str, Any]) -> Answer:
        if "refused" in result:
            return Answer(taken=False, reason=" ".join(str(result["refused"]).split())[:300])
        question, exported = self.questions[index], self.exported[index]
        reference = run_reference(question.model, question.sample)
        if reference is None:
            return Answer(taken=True)
        arrays = load_arrays(self.folder / f"{index}-out.npz")
        try:
            made = {port.name: port.restore(array) for port, array in zip(exported.outputs, arrays, strict=True)}
        except InputError as error:
            return Answer(taken=False, reason=str(error))
        error = max((largest_error(reference[name], made[name]) for name in made), default=0.0)
        if error > LARGEST_ERROR:
            reason = f"computes other numbers than ONNX Runtime: off by {error:.3g} of the largest"
            return Answer(taken=False, reason=reason, compared=True, error=error)
        return Answer(taken=True, compared=True, error=error)


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what a child told; one that crashed may leave its last line unfinished."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            yield json.loads(line)
