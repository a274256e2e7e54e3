"""Asks about many one-op models at once: the ONNX front end, the NPU compiler's table, and the CPU device's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from npuopt.delegates.asking import Worker
from npuopt.delegates.openvino.delegate import TOOL, WORKER, interpreter
from npuopt.delegates.openvino.importer import LARGEST_RANK, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from npuopt.delegates.contract import Limits
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

LARGEST_ERROR = 0.016
"""Difference from ONNX Runtime, as a fraction of its largest magnitude, up to which numbers count as right: as for
the other roads; a quantized result may be one step of 8 bits away."""


def probe(questions: Sequence[Question], *, limits: Limits, progress: Callable[[int], None]) -> list[Answer]:
    """Convert each question's model, look its operations up, run it, and compare with ONNX Runtime.

    A node is taken when the front end converts it, the NPU compiler has a parser for everything that it becomes, and
    the CPU device computes what ONNX Runtime computes from the representation.
    """
    worker = Worker(TOOL, WORKER, interpreter(), LARGEST_ERROR)
    return worker.ask(questions, limits=limits, progress=progress, refusal=_by_the_table)


def _by_the_table(_: Question, said: Mapping[str, Any]) -> str:
    operations = [str(kind) for _, kind in said.get("operations", ())]
    if why := next((why for kind in operations if (why := refusal(kind))), ""):
        return why
    if said.get("rank", 0) > LARGEST_RANK:
        return f"rank {said['rank']}; the NPU compiler's importer takes {LARGEST_RANK}"
    return "the NPU has no float64" if "f64" in said.get("types", ()) else ""
