"""Asks the Hexagon compiler about many one-op models, fast: one child process holds a whole batch."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npuopt.delegates.arrays import load_arrays, save_arrays
from npuopt.delegates.process import run_child
from npuopt.delegates.qnn.delegate import provider_options
from npuopt.delegates.qnn.placement import (
    DEQUANTIZE,
    PROVIDER,
    QUANTIZE,
    Account,
    nodes_in_float,
    original_name,
    read_placement,
)
from npuopt.delegates.qnn.simulate import WORKER
from npuopt.delegates.qnn.toolchain import ensure_available
from npuopt.target.probing.answer import Answer
from npuopt.target.probing.build import NODE, Question, run_reference
from npuopt.target.probing.numbers import largest_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from npuopt.delegates.contract import Limits
    from npuopt.delegates.process import ChildRun
    from npuopt.target import Target

BATCH = 250
"""Models per child. Starting one costs 0.5 s, a model about 15 ms (2 cores, onnxruntime-qnn 2.7.0)."""
LARGEST_ERROR = 0.016
"""Difference from the reference, as a fraction of its largest magnitude, up to which numbers count as right. Of 4,500
answers of v79 right ones stay below 0.015 (sines and LSTMs in float16; 8-bit ones below 0.01), wrong ones begin at 0.02
(scales by channel that are taken for those of other channels)."""


def probe(
    questions: Sequence[Question],
    target: Target,
    *,
    limits: Limits,
    simulate: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Answer]:
    """Compile every question's model, simulate it on its sample, and judge node NODE of it.

    Validation alone cannot be asked for: the provider finalizes whatever it validated, which costs 2 ms of the 15.

    Args:
        questions: one-op models; those between QuantizeLinear and DequantizeLinear must be computed in integers.
        target: whose compiler settings are used.
        limits: of each batch.
        simulate: also compare numbers with ONNX Runtime; without it the compiler's word is enough.
        progress: called with the number of questions answered so far.
    """
    ensure_available()
    answers: list[Answer] = []
    for first in range(0, len(questions), BATCH):
        answers += _Batch(questions[first : first + BATCH], target, limits, simulate=simulate).answers()
        progress(len(answers))
    return answers


class _Batch:
    """Some questions, asked in as few children as crashes allow."""

    def __init__(self, questions: Sequence[Question], target: Target, limits: Limits, *, simulate: bool) -> None:
        self.questions = questions
        self.options = provider_options(target)
        self.limits = limits
        self.simulate = simulate

    def answers(self) -> list[Answer]:
        """Ask until every question has its answer: after a crash, a new child takes the questions behind it."""
        with tempfile.TemporaryDirectory(prefix="npuopt-probe-") as scratch:
            folder = Path(scratch)
            items = [self._write(index, question, folder) for index, question in enumerate(self.questions)]
            answers: dict[int, Answer] = {}
            while len(answers) < len(items):
                before = len(answers)
                self._ask(items, answers, folder)
                if len(answers) == before:
                    raise AssertionError("a child answered nothing and was not blamed")
            return [answers[index] for index in range(len(items))]

    def _write(self, index: int, question: Question, folder: Path) -> dict[str, Any]:
        model = folder / f"{index}.onnx"
        model.write_bytes(question.model.SerializeToString())
        item: dict[str, Any] = {"name": str(index), "model": str(model), "names": list(question.sample)}
        if self.simulate:
            item["inputs"], item["outputs"] = str(folder / f"{index}-in.npz"), str(folder / f"{index}-out.npz")
            save_arrays(Path(item["inputs"]), list(question.sample.values()))
        return item

    def _ask(self, items: list[dict[str, Any]], answers: dict[int, Answer], folder: Path) -> None:
        results = folder / f"results-{len(answers)}.jsonl"
        request = {
            "operation": "probe",
            "models": [item for item in items if int(item["name"]) not in answers],
            "provider_options": self.options,
            "results": str(results),
            "scratch": str(folder),
        }
        child = run_child(WORKER, request, log=folder / "probe.log", limits=self.limits)
        running: int | None = None
        told = list(_read_lines(results))
        for result in told:
            if "started" in result:
                running = int(result["started"])
            else:
                running = None
                index = int(result["name"])
                answers[index] = self._judge(self.questions[index], result, folder / f"{index}-out.npz")
        if running is not None:
            answers[running] = Answer(taken=False, reason=_ended(child))
        elif not told:
            child.require("the Hexagon compiler")

    def _judge(self, question: Question, result: dict[str, Any], outputs: Path) -> Answer:
        known = {node.name: node for node in question.model.graph.node}
        placement = read_placement(result) if "placement" in result else []
        account = Account(placement, result.get("trace") or {})
        reason = account.reasons(known).get(NODE, "")
        if "refused" in result:
            return Answer(taken=False, reason=reason or " ".join(str(result["refused"]).split())[:300])
        if _runs_on_host(account, known):
            return Answer(taken=False, reason=reason or "left on the host without a reason")
        if NODE in nodes_in_float(question.model, account):
            return Answer(taken=False, reason="computed in float between Dequantize and Quantize")
        return self._compare(question, outputs)

    def _compare(self, question: Question, outputs: Path) -> Answer:
        """Hold the simulated numbers against ONNX Runtime's for the same model."""
        reference = run_reference(question.model, question.sample) if outputs.exists() else None
        if reference is None:
            return Answer(taken=True)
        made = dict(zip((info.name for info in question.model.graph.output), load_arrays(outputs), strict=True))
        error = max((largest_error(reference[name], made[name]) for name in made), default=0.0)
        if error > LARGEST_ERROR:
            reason = f"computes other numbers than ONNX Runtime: off by {error:.3g} of the largest"
            return Answer(taken=False, reason=reason, compared=True, error=error)
        return Answer(taken=True, compared=True, error=error)


def _runs_on_host(account: Account, known: Mapping[str, object]) -> bool:
    """Say whether the node, or a part of what the provider or ONNX Runtime split it into, is on the host."""
    moving = (QUANTIZE, DEQUANTIZE, "Transpose")
    for provider, nodes in account.placement:
        for name, op_type in nodes if provider != PROVIDER else ():
            original = original_name(name, known)
            if original == NODE or (original is None and op_type not in moving):
                return True
    return False


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what a child told; one that crashed may leave its last line unfinished."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def _ended(child: ChildRun) -> str:
    detail = f" ({child.detail})" if child.detail else ""
    return f"the compiler {child.ending}{detail}"
