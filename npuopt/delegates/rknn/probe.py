"""Asks RKNN-Toolkit2 about many one-op models: it builds and simulates each, and its table says where the node went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from npuopt.delegates.asking import Worker, write_model
from npuopt.delegates.rknn.delegate import OPSET, TOOLCHAIN, WORKER
from npuopt.delegates.rknn.opset import write_down
from npuopt.delegates.rknn.placement import CONVERTS, nodes_on_device
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from npuopt.delegates.contract import Limits
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question
    from npuopt.target.roads import RknnDelegate

BATCH = 100
"""Models per child; the toolkit takes about 0.15 s for each and 3 s to start."""
LARGEST_ERROR = 0.016
"""Difference from ONNX Runtime, as a fraction of its largest magnitude, up to which numbers count as right."""


def probe(
    questions: Sequence[Question], chip: RknnDelegate, *, limits: Limits, progress: Callable[[int], None]
) -> list[Answer]:
    """Build each question's model, see in the table of layers where the node went, simulate it and compare."""
    opset = chip.max_opset or OPSET

    def write(question: Question, path: Path) -> None:
        write_model(question, path)
        write_down(path, path, opset)

    settings, python = {"platform": chip.platform}, environment(TOOLCHAIN).python
    worker = Worker("the toolkit", WORKER, python, LARGEST_ERROR, settings=settings, batch=BATCH, write=write)
    return worker.ask(questions, limits=limits, progress=progress, refusal=_by_the_table)


def _by_the_table(question: Question, said: Mapping[str, Any]) -> str:
    if "refused" in said:
        return ""
    placed = nodes_on_device(question.model.graph, said["layers"], said["not_lowered"])
    left = (node for node in placed if not node.on_npu and not node.edge)
    return next((node.reason for node in left if node.op_type not in CONVERTS), "")
