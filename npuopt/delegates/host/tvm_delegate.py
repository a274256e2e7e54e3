"""The TVM road: a region becomes a shared library for a processor, scheduled by npuopt."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from npuopt.delegates.arrays import SampleFiles
from npuopt.delegates.contract import CompiledRegion
from npuopt.delegates.host.linking import architecture_of, find_linker, this_architecture
from npuopt.delegates.process import run_child
from npuopt.errors import InputError, ToolchainMissingError, UsageError
from npuopt.target import list_targets, load_target
from npuopt.target.roads import TvmDelegate as Processor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

WORKER = Path(__file__).with_name("tvm_worker.py")
COMPILER = "TVM"
LOG_FILE = "tvm.log"
DESCRIPTION = "model.json"
BATCH = 50
"""Models per child of a probe, about 0.5 s each."""
LARGEST_ERROR = 1e-4
"""Difference from ONNX Runtime, as a fraction of its largest magnitude, up to which numbers count as right."""
HOSTS = {"x86_64": "x86-64"}


class TvmDelegate:
    """Compiles regions to `model.so`, which TVM's runtime library loads, and runs them."""

    road: ClassVar[str] = "tvm"

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when apache-tvm is not installed."""
        if importlib.util.find_spec("tvm") is None:
            raise ToolchainMissingError(
                "apache-tvm is not installed", hint="run: pip install 'apache-tvm==0.27.0.post1'"
            )

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Compile `model`, whose shapes are static, into `folder`: model.so, model.json and loader.py.

        Raises:
            ToolchainMissingError: TVM or the linker for the target is not installed.
            VendorToolError: TVM cannot take some nodes (they are named), or failed.
        """
        self.ensure_available()
        processor = processor_of(target)
        request = {
            "operation": "compile",
            "model": str(model.resolve()),
            "folder": str(folder.resolve()),
            **_settings(processor),
            "linker": find_linker(processor),
        }
        answer = run_child(WORKER, request, log=folder / LOG_FILE, limits=limits).require(COMPILER, where=str(model))
        figures: dict[str, Any] = {
            "triple": processor.triple,
            "cpu": processor.cpu,
            "library_bytes": (folder / "model.so").stat().st_size,
            "compile_seconds": float(answer["seconds"]),
            "plain_functions": list(answer["plain_functions"]),
        }
        return CompiledRegion(
            self.road,
            folder,
            tuple(answer["files"]),
            figures=figures,
            tools=answer["tools"],
            log=LOG_FILE,
            elsewhere=_elsewhere(processor.triple),
        )

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run a compiled region on this machine with TVM's runtime library alone, once a sample.

        Raises:
            UsageError: the region was compiled for another machine than this one.
            InputError: a sample does not fit the region's inputs.
            VendorToolError: the library crashed (one for a newer CPU than this one does).
        """
        self.ensure_available()
        description = _read_description(region.folder / DESCRIPTION)
        if elsewhere := _elsewhere(description["triple"]):
            raise UsageError(elsewhere, where=str(region.folder), hint="run it there with the loader.py beside it")
        for sample in samples:
            _check_sample(sample, description["inputs"])
        names = [item["name"] for item in description["inputs"]]
        with tempfile.TemporaryDirectory(prefix="npuopt-tvm-") as scratch:
            files = SampleFiles.write(Path(scratch), ([sample[name] for name in names] for sample in samples))
            request = {
                "operation": "run",
                "folder": str(region.folder.resolve()),
                **files.request,
            }
            child = run_child(WORKER, request, log=Path(scratch) / LOG_FILE, limits=limits)
            answer = child.require("the compiled model", where=str(region.folder))
            return [dict(zip(answer["outputs"], arrays, strict=True)) for arrays in files.results()]

    def probe(
        self,
        questions: Sequence[Question],
        target: Target,
        *,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """Compile every question's model, run it, and compare with ONNX Runtime.

        Raises:
            UsageError: the target is another kind of machine.
        """
        from npuopt.delegates.asking import Worker  # noqa: PLC0415 -- imports ONNX Runtime

        processor = processor_of(target)
        if elsewhere := _elsewhere(processor.triple):
            raise UsageError(elsewhere, where=target.name, hint="probe the target of this machine")
        settings = {**_settings(processor), "linker": find_linker(processor)}
        worker = Worker(COMPILER, WORKER, sys.executable, LARGEST_ERROR, settings=settings, batch=BATCH)
        return worker.ask(questions, limits=limits, progress=progress)


def _settings(processor: Processor) -> dict[str, Any]:
    return {"triple": processor.triple, "cpu": processor.cpu, "features": list(processor.features)}


def processor_of(target: Target) -> Processor:
    """Return the target's processor; for the host's part beside a chip, which runs here, that of this machine.

    Raises:
        UsageError: there is no descriptor for this kind of machine.
    """
    if isinstance(target.delegate, Processor):
        return target.delegate
    name = f"host/{HOSTS.get(this_architecture(), this_architecture())}"
    if name not in list_targets():
        raise UsageError(f"there is no target {name}", where=target.name, hint="use --target with a descriptor of it")
    return processor_of(load_target(name))


def _elsewhere(triple: str) -> str:
    """Return why what was compiled for `triple` does not run here, or an empty string."""
    here = this_architecture()
    return "" if architecture_of(triple) == here else f"compiled for {triple}; this machine is {here}"


def _read_description(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path), hint="compile the region again") from error


def _check_sample(sample: Mapping[str, np.ndarray], inputs: Sequence[Mapping[str, Any]]) -> None:
    for item in inputs:
        where = f"input {item['name']!r}"
        if item["name"] not in sample:
            raise InputError("is missing from the sample", where=where)
        array, shape = sample[item["name"]], tuple(item["shape"])
        if array.dtype != np.dtype(item["dtype"]):
            raise InputError(f"has type {array.dtype}, not {item['dtype']}", where=where)
        if array.shape != shape:
            raise InputError(f"has shape {list(array.shape)}, not {list(shape)}", where=where)
