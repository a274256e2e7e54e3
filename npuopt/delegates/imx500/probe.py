"""Asks the IMX500 converter about many one-op models: its reader about each, the whole converter about many at once."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from npuopt.delegates.asking import Worker
from npuopt.delegates.imx500.delegate import COMPILER, TOOLCHAIN, WORKER, pack
from npuopt.delegates.imx500.quantizers import write_quantizers
from npuopt.delegates.together import ask_together
from npuopt.errors import VendorToolError
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx

    from npuopt.delegates.contract import Limits
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

TOGETHER = 16
"""Questions in one conversion: of 12 it takes 18 s where one alone takes 14, of 42 it takes 86 (two busy cores)."""
LARGEST_ERROR = 0.016
"""Difference from ONNX Runtime, as a fraction of its largest magnitude, up to which numbers count as right: as for
the other roads."""


def probe(questions: Sequence[Question], *, limits: Limits, progress: Callable[[int], None]) -> list[Answer]:
    """Let the reader take or refuse each question's model, compare numbers, and convert what is left, many at once.

    Numbers are those of Sony's quantizers in ONNX Runtime on the model as the converter gets it.
    """
    worker = Worker(COMPILER, WORKER, environment(TOOLCHAIN).python, LARGEST_ERROR, write=_write)
    answers = worker.ask(questions, limits=limits)
    taken = [place for place, answer in enumerate(answers) if answer.taken]
    progress(len(questions) - len(taken))
    reasons = ask_together(
        [questions[place] for place in taken],
        lambda model: _convert(model, limits),
        most=TOGETHER,
        progress=lambda done: progress(len(questions) - len(taken) + done),
    )
    for place, why in zip(taken, reasons, strict=True):
        if why:
            answers[place] = replace(answers[place], taken=False, reason=why)
    return answers


def _write(question: Question, path: Path) -> None:
    path.write_bytes(question.model.SerializeToString())
    write_quantizers(path, path)


def _convert(model: onnx.ModelProto, limits: Limits) -> str:
    """Convert a model to the end; returns what the converter has against it."""
    with tempfile.TemporaryDirectory(prefix="npuopt-probe-") as scratch:
        source = Path(scratch) / "questions.onnx"
        source.write_bytes(model.SerializeToString())
        try:
            pack(source, Path(scratch), limits=limits)
        except VendorToolError as error:
            return error.what
    return ""
