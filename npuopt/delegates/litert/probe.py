"""Asks a tool that runs TFLite models about many one-op models: each is exported, run and held against ONNX Runtime."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    from collections.abc import Iterator, Sequence

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target

BATCH = 250
"""Models per child. To start one costs 0.4 s, a model about 1 ms."""
SAID_CHARACTERS = 300
"""Of what a tool says."""
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
class Tool:
    """A tool that answers requests about TFLite models.

    Attributes:
        tool: what it is, for sentences.
        worker: the program that does requests of the operation `probe`.
        settings: go into each request, beside `models`, `results` and the scratch `folder`.
        python: interpreter that has the tool.
    """

    tool: str
    worker: Path
    settings: Mapping[str, Any]
    python: str = sys.executable


@dataclass(frozen=True)
class Compiler(Tool):
    """A tool that has to take a model before it is run.

    Attributes:
        refusal: why what it said of a model, given with the ONNX file, means that the node is not taken; an empty
            string where it does not.
    """

    refusal: Callable[[Path, Mapping[str, Any]], str] = field(kw_only=True)


@dataclass(frozen=True)
class Runner(Tool):
    """A tool that runs TFLite models.

    Attributes:
        interpreted: LiteRT's own kernels compute the numbers.
        folded_means: as `export` has it.
        compiler: is asked first.
    """

    interpreted: bool = False
    folded_means: bool = False
    compiler: Compiler | None = None


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
        if self.runner.compiler is not None:
            self._ask(self.runner.compiler, self._compiled(self.runner.compiler))
        self._ask(self.runner, self._judge)
        return [self.known[index] for index in range(len(self.questions))]

    def _export(self, index: int, question: Question) -> None:
        model = self.folder / f"{index}.onnx"
        model.write_bytes(question.model.SerializeToString())
        flags = {"interpreted": self.runner.interpreted, "folded_means": self.runner.folded_means}
        exported = export(model, model.with_suffix(".tflite"), **flags)
        if NODE in exported.in_float and NODE not in exported.by_choice:
            self.known[index] = Answer(taken=False, reason=exported.in_float[NODE])
            return
        save_arrays(
            self.folder / f"{index}-in.npz", [port.store(question.sample[port.name]) for port in exported.inputs]
        )
        self.exported[index] = exported

    def _ask(self, tool: Tool, judge: Callable[[int, dict[str, Any]], Answer | None]) -> None:
        """Put all that has no answer yet to a tool; what `judge` has nothing against stays without one."""
        waiting = [index for index in range(len(self.questions)) if index not in self.known]
        while waiting:
            results = self.folder / f"results-{len(waiting)}.jsonl"
            request = {"operation": "probe", "models": [self._item(index) for index in waiting], **tool.settings}
            request |= {"results": str(results), "folder": str(self.folder)}
            log = self.folder / "probe.log"
            child = run_child(tool.worker, request, log=log, limits=self.limits, python=tool.python)
            told = list(_read_lines(results))
            results.unlink(missing_ok=True)
            if not told:
                child.require(tool.tool)
                raise AssertionError("a child answered nothing and was not blamed")
            for result in told:
                if "name" in result and (answer := judge(int(result["name"]), result)) is not None:
                    self.known[int(result["name"])] = answer
            if told and "started" in told[-1]:
                detail = f" ({child.detail})" if child.detail else ""
                crashed = int(told[-1]["started"])
                self.known[crashed] = Answer(taken=False, reason=f"{tool.tool} {child.ending}{detail}")
            begun = {int(result["started"]) for result in told if "started" in result}
            waiting = [index for index in waiting if index not in begun]

    def _item(self, index: int) -> dict[str, str]:
        given, made = self.folder / f"{index}-in.npz", self.folder / f"{index}-out.npz"
        model = self.folder / f"{index}.tflite"
        return {"name": str(index), "model": str(model), "inputs": str(given), "outputs": str(made)}

    def _compiled(self, compiler: Compiler) -> Callable[[int, dict[str, Any]], Answer | None]:
        def judge(index: int, result: dict[str, Any]) -> Answer | None:
            why = str(result.get("refused", "")) or compiler.refusal(self.folder / f"{index}.onnx", result)
            return Answer(taken=False, reason=_short(why)) if why else None

        return judge

    def _judge(self, index: int, result: dict[str, Any]) -> Answer:
        if "refused" in result:
            return Answer(taken=False, reason=_short(str(result["refused"])))
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


def _short(reason: str) -> str:
    """Return the part of a complaint that fits into a sentence."""
    return " ".join(reason.split())[:SAID_CHARACTERS]


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what a child told; one that crashed may leave its last line unfinished."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            yield json.loads(line)
