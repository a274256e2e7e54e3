"""Asks Vela about many one-op models, and LiteRT's interpreter for the numbers of those that the NPU takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from npuopt.delegates.ethosu.delegate import COMPILER, KERNELS, NPU, TOOLCHAIN, WORKER, operators_left, options
from npuopt.delegates.litert.interpret import INTERPRETER
from npuopt.delegates.litert.interpret import WORKER as INTERPRETER_WORKER
from npuopt.delegates.litert.placement import nodes_on_device
from npuopt.delegates.litert.probe import Compiler, Runner, probe_with
from npuopt.graph import load
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

CONVERSIONS = frozenset(("DequantizeLinear", "DEQUANTIZE", "QuantizeLinear", "QUANTIZE"))
"""What a question holds besides its node stands at the edge, where the host converts."""


def probe(
    questions: Sequence[Question], target: Target, *, limits: Limits, progress: Callable[[int], None]
) -> list[Answer]:
    """Export and compile every question's model, run those of which the NPU takes all but conversions at the edge."""
    compiler = Compiler(
        COMPILER, WORKER, {"options": options(target)}, environment(TOOLCHAIN).python, refusal=why_not_on_npu
    )
    runner = Runner(INTERPRETER, INTERPRETER_WORKER, {"kernels": KERNELS}, folded_means=True, compiler=compiler)
    return probe_with(questions, runner, limits=limits, progress=progress)


def why_not_on_npu(model: Path, said: Mapping[str, Any]) -> str:
    """Return Vela's reason for an operator that it leaves to the processor, or an empty string."""
    reasons = cast("Mapping[str, str]", said["reasons"])
    nodes = nodes_on_device(load(model), operators_left(said), reasons, NPU)
    left = [node for node in nodes if not node.on_npu and node.op_type not in CONVERSIONS]
    return f"{left[0].op_type} is left to the processor: {left[0].reason}" if left else ""
