"""Puts many one-op models to a vendor's worker, in as few children as its crashes allow, and compares its numbers.

The worker gets `{"operation": "probe", "models": [{"name", "model", "names", "inputs", "results", "shapes",
"outputs"}], "results", "folder"}` and appends to the file `results`: `{"started": name}` before each model, and
`{"name": name, ...}` behind it, with `refused` where the tool said no. What it computed lies in the npz `outputs`, by
position; `folder` is scratch.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from npuopt.delegates.arrays import load_arrays, save_arrays
from npuopt.delegates.process import run_child
from npuopt.errors import VendorToolError
from npuopt.target.probing.answer import Answer
from npuopt.target.probing.build import run_reference
from npuopt.target.probing.numbers import largest_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.delegates.contract import Limits
    from npuopt.target.probing.build import Question

Refusal: TypeAlias = Callable[["Question", Mapping[str, Any]], str]
"""Why what the worker said of a question means that its node is not taken; an empty string where it does not."""


def write_model(question: Question, path: Path) -> None:
    """Write a question's model as it is."""
    path.write_bytes(question.model.SerializeToString())


BATCH = 250
"""Models per child."""
MOST_SAID = 300
"""Characters kept of what a tool says."""


@dataclass(frozen=True)
class Worker:
    """A vendor's worker that answers questions.

    Attributes:
        tool: what it asks, as the start of a sentence.
        file: the program.
        python: interpreter that has the tool.
        largest_error: difference from ONNX Runtime, as a fraction of its largest magnitude, up to which numbers
            count as right.
        settings: go into each request.
        batch: models per child.
        write: writes a question's model as the tool reads it; VendorToolError says that there is no such form.
    """

    tool: str
    file: Path
    python: str
    largest_error: float
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    batch: int = BATCH
    write: Callable[[Question, Path], None] = write_model

    def ask(
        self,
        questions: Sequence[Question],
        *,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
        refusal: Refusal = lambda _, __: "",
    ) -> list[Answer]:
        """Put every question to the tool.

        Args:
            questions: one-op models with a sample each.
            limits: of each child.
            progress: called with the number of questions answered.
            refusal: reads more out of what the worker says; asked before `refused` counts.

        Raises:
            VendorToolError: a child ended before it began with any model.
        """
        answers: list[Answer] = []
        for first in range(0, len(questions), self.batch):
            with tempfile.TemporaryDirectory(prefix="npuopt-probe-") as scratch:
                answers += self._batch(questions[first : first + self.batch], Path(scratch), limits, refusal)
            progress(len(answers))
        return answers

    def _batch(self, questions: Sequence[Question], folder: Path, limits: Limits, refusal: Refusal) -> list[Answer]:
        """Ask until every question has its answer: after a crash, a new child takes the questions behind it."""
        answers: dict[int, Answer] = {}
        items: list[dict[str, Any]] = []
        for index, question in enumerate(questions):
            items.append(_item(index, question, folder))
            try:
                self.write(question, folder / f"{index}.onnx")
            except VendorToolError as error:
                answers[index] = Answer(taken=False, reason=error.what)
        while left := [item for item in items if int(item["name"]) not in answers]:
            results = folder / f"results-{len(answers)}.jsonl"
            request = {**self.settings, "operation": "probe", "models": left, "results": str(results)}
            request["folder"] = str(folder)
            child = run_child(self.file, request, log=folder / "probe.log", limits=limits, python=self.python)
            running, before = None, len(answers)
            for said in _lines(results):
                running = int(said["started"]) if "started" in said else None
                if running is None:
                    index = int(said["name"])
                    answers[index] = self._judge(questions[index], said, folder / f"{index}-out.npz", refusal)
            if running is not None:
                detail = f" ({child.detail})" if child.detail else ""
                answers[running] = Answer(taken=False, reason=f"{self.tool} {child.ending}{detail}")
            elif len(answers) == before:
                child.require(self.tool)
                raise AssertionError("a child answered nothing and was not blamed")
        return [answers[index] for index in range(len(questions))]

    def _judge(self, question: Question, said: Mapping[str, Any], outputs: Path, refusal: Refusal) -> Answer:
        if why := refusal(question, said):
            return Answer(taken=False, reason=why)
        if "refused" in said:
            return Answer(taken=False, reason=" ".join(str(said["refused"]).split())[-MOST_SAID:])
        reference = run_reference(question.model, question.sample)
        if reference is None:
            return Answer(taken=True)
        made = dict(zip((value.name for value in question.model.graph.output), load_arrays(outputs), strict=True))
        error = max((largest_error(reference[name], made[name]) for name in made), default=0.0)
        if error > self.largest_error:
            reason = f"computes other numbers than ONNX Runtime: off by {error:.3g} of the largest"
            return Answer(taken=False, reason=reason, compared=True, error=error)
        return Answer(taken=True, compared=True, error=error)


def _item(index: int, question: Question, folder: Path) -> dict[str, Any]:
    given, outputs = folder / f"{index}-in.npz", question.model.graph.output
    save_arrays(given, list(question.sample.values()))
    return {
        "name": str(index),
        "model": str(folder / f"{index}.onnx"),
        "names": list(question.sample),
        "inputs": str(given),
        "results": [value.name for value in outputs],
        "shapes": [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in outputs],
        "outputs": str(folder / f"{index}-out.npz"),
    }


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what a child told; one that crashed may leave its last line unfinished."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            yield json.loads(line)
