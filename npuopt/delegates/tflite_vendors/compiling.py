"""One region through a compiler that reads TFLite: export, the compiler where there is one, and what it left behind."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from npuopt.delegates.child_log import keep_log
from npuopt.delegates.contract import CompiledRegion
from npuopt.delegates.litert.interpret import interpret
from npuopt.delegates.litert.placement import nodes_on_device
from npuopt.delegates.litert.region import MODEL_FILE, PORTS_FILE, write_region
from npuopt.delegates.process import run_child
from npuopt.errors import VendorToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.delegates.litert.region import WrittenRegion

    Report = Mapping[str, Any]

WORKER = Path(__file__).with_name("worker.py")
LITERT_LOG = "litert.log"
LOG_BYTES = 8 << 20
NUMBERS = "LiteRT's interpreter on the TFLite model from before the vendor's compiler"


@dataclass(frozen=True)
class Compiler:
    """A compiler that was found, and how to call it.

    Attributes:
        title: as the start of a sentence: `the Edge TPU compiler`.
        command: with absolute paths of what it reads and writes.
        result: the file that it writes.
        custom_operator: in that file, what holds the part for the NPU.
        environment: variables to add.
    """

    title: str
    command: tuple[str, ...]
    result: Path
    custom_operator: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Door:
    """Where this machine's part ends, as no compiler is found.

    Attributes:
        missing: what is not there.
        install: how to get it.
        command: to run then, in the folder of the artifact.
    """

    missing: str
    install: str
    command: tuple[str, ...]

    def sentence(self) -> str:
        """Say what is missing and what to do next."""
        return f"not made: {self.missing}; {self.install}, then run in this folder: {shlex.join(self.command)}"


@dataclass(frozen=True)
class Road:
    """What the shared stretch needs to know of one road."""

    name: str
    kernels: str
    log: str
    find: Callable[[Path, Path], Compiler | Door]
    report: Callable[[str], Report]
    complaint: re.Pattern[str]
    """Finds, in what the compiler prints, why it fails: its first group."""


def compile_region(model: Path, folder: Path, road: Road, *, limits: Limits) -> CompiledRegion:
    """Write `model` as TFLite, compile that where the compiler is found, and say which nodes are on the NPU.

    Without a compiler the result holds the TFLite model, no placement, and in its figures the next command.

    Raises:
        VendorToolError: a node has no TFLite form, the compiler failed, or it put nothing on the NPU.
    """
    written = write_region(model, folder, road.kernels, log=folder / LITERT_LOG, limits=limits)
    figures: dict[str, Any] = {**written.figures, "numbers": NUMBERS}
    found = road.find((folder / MODEL_FILE).resolve(), folder.resolve())
    if isinstance(found, Door):
        figures["npu_binary"] = found.sentence()
        files = (MODEL_FILE, PORTS_FILE)
        return CompiledRegion(road.name, folder, files, (), figures, written.tools, LITERT_LOG)
    request = {"command": list(found.command), "environment": dict(found.environment), "result": str(found.result)}
    child = run_child(WORKER, request, log=folder / road.log, limits=limits)
    printed = read_log(folder / road.log)
    if child.ending == "failed" and (complaint := road.complaint.search(printed)):
        what = f"{found.title} failed with exit code {child.exit_code}: {' '.join(complaint[1].split())}"
        raise VendorToolError(what, where=str(model), hint=f"its log: {keep_log(child.log)}")
    answer = child.require(found.title, where=str(model))
    report = road.report(printed)
    operators = [(str(name), [str(tensor) for tensor in made]) for name, made in answer["operators"]]
    statuses = cast("Mapping[str, str]", report.get("statuses", {}))
    _require_device(operators, found, statuses, model)
    reasons = {tensor: statuses[name] for name, made in operators for tensor in made if name in statuses}
    nodes = nodes_on_device(written.model, operators, reasons, found.custom_operator)
    known = {**figures, **report, **_sizes(found, operators, written), "compile_seconds": float(answer["seconds"])}
    tools = {**written.tools, **cast("Mapping[str, str]", report.get("tools", {}))}
    files = (found.result.name, MODEL_FILE, PORTS_FILE)
    return CompiledRegion(road.name, folder, files, nodes, known, tools, road.log)


def run_region(
    region: CompiledRegion, samples: Sequence[Mapping[str, np.ndarray]], kernels: str, *, limits: Limits
) -> list[dict[str, np.ndarray]]:
    """Run the TFLite model from before the compiler in LiteRT's interpreter."""
    return interpret(region.folder / MODEL_FILE, region.folder / PORTS_FILE, samples, kernels, limits=limits)


def read_log(path: Path) -> str:
    """Return what a tool printed, up to a bound."""
    with path.open("rb") as log:
        return log.read(LOG_BYTES).decode("utf-8", errors="replace")


def _require_device(
    operators: Sequence[tuple[str, Sequence[str]]], found: Compiler, statuses: Mapping[str, str], model: Path
) -> None:
    if not any(name == found.custom_operator for name, _ in operators):
        why = next(iter(statuses.values()), "no reason given")
        raise VendorToolError(f"{found.title} left everything to the processor: {why}", where=str(model))


def _sizes(found: Compiler, operators: Sequence[tuple[str, Sequence[str]]], written: WrittenRegion) -> dict[str, Any]:
    return {
        "binary_bytes": found.result.stat().st_size,
        "npu_operators": sum(name == found.custom_operator for name, _ in operators),
        "processor_operators": sum(name != found.custom_operator for name, _ in operators),
        "operators": written.exported.operators,
    }
