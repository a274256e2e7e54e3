"""The TOSA road: npuopt's own TFLite exporter, then Arm's converter, serializer and reference model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from npuopt.delegates.arrays import SampleFiles
from npuopt.delegates.contract import CompiledRegion
from npuopt.delegates.litert.interpret import INTERPRETER
from npuopt.delegates.litert.interpret import WORKER as INTERPRETER_WORKER
from npuopt.delegates.litert.ports import Port, load_ports
from npuopt.delegates.litert.region import MODEL_FILE, PORTS_FILE, export_region, nodes_within
from npuopt.delegates.litert.toolchain import ensure_available as ensure_interpreter
from npuopt.delegates.process import run_child
from npuopt.delegates.settings import settings_of
from npuopt.errors import InputError
from npuopt.target.roads import TosaDelegate as Settings
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

WORKER = Path(__file__).with_name("worker.py")
CONVERTER, REFERENCE = "the TOSA converter", "the TOSA reference model"
TOOLCHAIN = "tosa"
BINARY_FILE, LOG_FILE = "model.tosa", "tosa.log"
NUMBERS = "Arm's TOSA reference model, on the flatbuffer"


class TosaDelegate:
    """Writes regions as TOSA flatbuffers and computes them in the reference model."""

    road: ClassVar[str] = "tosa"

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when the tools' environment or LiteRT's interpreter is not installed."""
        environment(TOOLCHAIN)
        ensure_interpreter()

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Write `model` as model.tosa, valid for the target's profiles, and hold it against LiteRT on seeded integers.

        Raises:
            ToolchainMissingError: the tools are not installed.
            VendorToolError: a node has no TFLite or TOSA form, or the reference model failed.
        """
        self.ensure_available()
        tool = environment(TOOLCHAIN)
        loaded, exported = export_region(model, folder)
        request = {
            "operation": "compile",
            "model": str((folder / MODEL_FILE).resolve()),
            "result": str((folder / BINARY_FILE).resolve()),
            "target": conformance(target),
        }
        child = run_child(WORKER, request, log=folder / LOG_FILE, limits=limits, python=tool.python)
        answer = child.require(CONVERTER, where=str(model))
        figures: dict[str, Any] = {
            "operators": exported.operators,
            "tosa_operators": answer["operators"],
            "binary_bytes": (folder / BINARY_FILE).stat().st_size,
            "compile_seconds": float(answer["seconds"]),
            "against_litert": against_litert(folder, exported.inputs, limits=limits),
            "numbers": NUMBERS,
            "toolchain": tool.record(),
        }
        files = (BINARY_FILE, MODEL_FILE, PORTS_FILE)
        return CompiledRegion(self.road, folder, files, nodes_within(loaded, exported), figures, tool.tools(), LOG_FILE)

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Compute every sample in the reference model.

        Raises:
            InputError: a sample does not fit.
            VendorToolError: the reference model failed.
        """
        del target
        inputs, outputs = load_ports(region.folder / PORTS_FILE)
        for sample in samples:
            if missing := [port.name for port in inputs if port.name not in sample]:
                raise InputError("is missing from the sample", where=f"input {missing[0]!r}")
        stored = [[port.store(sample[port.name]) for port in inputs] for sample in samples]
        made = reference(region.folder / BINARY_FILE, stored, limits=limits)
        return [{port.name: port.restore(array) for port, array in zip(outputs, each, strict=True)} for each in made]

    def probe(
        self,
        questions: Sequence[Question],
        target: Target,
        *,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """Convert, validate and compute one-op models, about 0.2 s each."""
        self.ensure_available()
        from npuopt.delegates.litert.probe import Runner, probe_with  # noqa: PLC0415 -- imports the exporter, an extra

        settings = {"target": conformance(target)}
        runner = Runner(CONVERTER, WORKER, settings, python=environment(TOOLCHAIN).python)
        return probe_with(questions, runner, limits=limits, progress=progress)


def conformance(target: Target) -> str:
    """Return what a flatbuffer must conform to, as options of `tosa-opt --tosa-attach-target`."""
    chip = settings_of(target, Settings)
    lists = f"profiles={','.join(chip.profiles)} extensions={','.join(chip.extensions)}"
    return f"specification_version={chip.specification} level={chip.level} {lists}"


def reference(model: Path, stored: Sequence[Sequence[np.ndarray]], *, limits: Limits) -> list[list[np.ndarray]]:
    """Compute samples, as the TFLite model stores them, in the reference model."""
    python = environment(TOOLCHAIN).python
    with tempfile.TemporaryDirectory(prefix="npuopt-tosa-") as scratch:
        files = SampleFiles.write(Path(scratch), stored)
        request = {"operation": "run", "model": str(model.resolve()), **files.request}
        child = run_child(WORKER, request, log=Path(scratch) / LOG_FILE, limits=limits, python=python)
        child.require(REFERENCE, where=str(model))
        return files.results()


def against_litert(folder: Path, inputs: Sequence[Port], *, limits: Limits) -> dict[str, int]:
    """Compare what the reference model and LiteRT's plain loops make of the same seeded data, bit for bit.

    Returns:
        elements: of all outputs; differing: how many are not the same; most_steps: by how much, in integers.
    """
    given = drawn(inputs)
    made = reference(folder / BINARY_FILE, [given], limits=limits)[0]
    with tempfile.TemporaryDirectory(prefix="npuopt-tosa-") as scratch:
        files = SampleFiles.write(Path(scratch), [given])
        request = {"operation": "run", "model": str((folder / MODEL_FILE).resolve()), "kernels": "reference"}
        child = run_child(
            INTERPRETER_WORKER, {**request, **files.request}, log=Path(scratch) / "litert.log", limits=limits
        )
        child.require(INTERPRETER, where=str(folder / MODEL_FILE))
        wanted = files.results()[0]
    pairs = [np.abs(one.astype(np.float64) - other.reshape(one.shape)) for one, other in zip(made, wanted, strict=True)]
    return {
        "elements": sum(pair.size for pair in pairs),
        "differing": sum(int(np.count_nonzero(pair)) for pair in pairs),
        "most_steps": max((int(np.ceil(pair.max(initial=0))) for pair in pairs), default=0),
    }


def drawn(inputs: Sequence[Port]) -> list[np.ndarray]:
    """Draw data as the model stores it: any integer of 8 or 16 bits, normal numbers, and zeros for indices."""
    random = np.random.default_rng(0)
    arrays: list[np.ndarray] = []
    for port in inputs:
        dtype = np.dtype(port.dtype)
        if dtype.kind == "f":
            arrays.append(random.normal(size=port.shape).astype(dtype))
        elif dtype.kind == "i" and dtype.itemsize <= 2:
            limits = np.iinfo(dtype)
            arrays.append(random.integers(limits.min, limits.max, port.shape, dtype, endpoint=True))
        else:
            arrays.append(np.zeros(port.shape, dtype))
    return arrays
