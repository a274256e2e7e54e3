"""The Hexagon road: ONNX Runtime's QNN execution provider, which holds Qualcomm's compiler and simulator."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from npuopt.delegates.contract import CompiledRegion
from npuopt.delegates.process import run_child
from npuopt.delegates.qnn.container import write_containers
from npuopt.delegates.qnn.context import Context, read_context
from npuopt.delegates.qnn.placement import Account, nodes_on_device, read_placement
from npuopt.delegates.qnn.simulate import WORKER, simulate
from npuopt.delegates.qnn.toolchain import LICENCE, ensure_available
from npuopt.delegates.samples import read_header
from npuopt.delegates.settings import settings_of
from npuopt.errors import InternalError, UsageError, VendorToolError
from npuopt.target.roads import QnnDelegate as Chip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import onnx

    from npuopt.delegates.contract import Limits, NodeOnDevice
    from npuopt.target import Target
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

COMPILER = "the Hexagon compiler"
TRACE_FILE = "qnn_op_trace.json"
TRACE_BYTES = 512 << 20
LOG_FILE = "qnn.log"
SHARED = "weights_shared_by"
"""A region's figure: the models whose weights its binary holds once."""


@dataclass(frozen=True)
class _Made:
    """What the compiler made of a model.

    Attributes:
        model: the region.
        output: the EPContext model.
        trace: the folder of the op trace.
        answer: what the worker told of it.
    """

    model: Path
    output: Path
    trace: Path
    answer: Mapping[str, Any]


class QnnDelegate:
    """Compiles regions to EPContext models for Hexagon NPUs and runs them on the simulator."""

    road: ClassVar[str] = "qnn"

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when the extra is not installed or this machine cannot run it."""
        ensure_available()

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Compile `model` into an EPContext model with its binary, and prove what is in it.

        Where the descriptor asks for it, the graph is also written as a .dlc container for the vendor's own tools.

        Every node of `model` needs a name of its own. Besides the two files, the folder gets the provider's op trace
        and the log. The binary is not the same byte for byte from run to run: a few scratch bytes differ.

        Raises:
            ToolchainMissingError: the extra is not installed.
            VendorToolError: the compiler failed, took no node, or compiled for another chip than asked.
        """
        self.ensure_available()
        header = read_header(model)
        _ensure_names(header, model)
        output = folder / f"{model.stem}_ctx.onnx"
        request = {
            "operation": "compile",
            "model": str(model.resolve()),
            "output": str(output.resolve()),
            "provider_options": provider_options(target),
        }
        child = run_child(WORKER, request, log=folder / LOG_FILE, limits=limits)
        answer = child.require(COMPILER, where=str(model))
        made = _Made(model, output, folder, answer)
        context, nodes, figures = _accounted(made, header, target)
        files = (output.name, context.binary.name, TRACE_FILE)
        if settings_of(target, Chip).dlc:
            containers, about = write_containers(model, folder, provider_options(target), limits=limits)
            files, figures = (*files, *containers), {**figures, **about}
        tools = {**answer["tools"], "qnn-sdk": context.sdk}
        return CompiledRegion(self.road, folder, files, nodes, figures, tools, LOG_FILE)

    def compile_sharing(
        self, models: Sequence[Path], folder: Path, target: Target, *, limits: Limits
    ) -> list[CompiledRegion]:
        """Compile models into one binary that holds equal weights once; see `WeightSharer`.

        The simulator does not load such a binary (2.51 says `Shared weights buffer isn't supported on this platform`
        and dies), so the regions' own models are among their files, and are what `run` gives to the simulator.

        Raises:
            ToolchainMissingError, VendorToolError: as `compile`.
        """
        self.ensure_available()
        headers = [read_header(model) for model in models]
        below = folder / self.road
        requests: list[dict[str, str]] = []
        for model, header in zip(models, headers, strict=True):
            _ensure_names(header, model)
            (below / model.stem).mkdir(parents=True)
            output = below / f"{model.stem}_ctx.onnx"
            given = {"model": model, "output": output, "trace": below / model.stem}
            requests.append({key: str(path.resolve()) for key, path in given.items()})
        request = {
            "operation": "compile_sharing",
            "models": requests,
            "provider_options": provider_options(target),
        }
        child = run_child(WORKER, request, log=below / LOG_FILE, limits=limits)
        answer = child.require(COMPILER, where=str(models[0]))
        regions: list[CompiledRegion] = []
        for model, header, told in zip(models, headers, answer["answers"], strict=True):
            made = _Made(model, below / f"{model.stem}_ctx.onnx", below / model.stem, told)
            context, nodes, figures = _accounted(made, header, target)
            paths = (context.model, context.binary, made.trace / TRACE_FILE, model)
            files = tuple(path.relative_to(folder).as_posix() for path in paths)
            tools = {**answer["tools"], "qnn-sdk": context.sdk}
            shared = {**figures, SHARED: [other.stem for other in models]}
            regions.append(CompiledRegion(self.road, folder, files, nodes, shared, tools, f"{self.road}/{LOG_FILE}"))
        return regions

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run a compiled region on the simulator, once a sample.

        Raises:
            UsageError: the region was compiled for another chip than `target`: on x86-64 it would run all the same.
            InputError: a sample does not fit, or the region's files are damaged.
            VendorToolError: the simulator failed.
        """
        self.ensure_available()
        context = read_context(region.folder / region.files[0])
        compiled_for = region.figures.get("soc_model")
        wanted = settings_of(target, Chip).soc_model
        if compiled_for != wanted:
            what = f"compiled for SoC {compiled_for} ({context.soc}), not for {wanted} ({target.name})"
            raise UsageError(what, where=str(context.model), hint="compile it again for this target")
        _ensure_built_for(context, target)
        model = region.folder / region.files[-1] if SHARED in region.figures else context.model
        return simulate(model, samples, provider_options(target), limits=limits)

    def run_uncompiled(
        self, model: Path, samples: Sequence[Mapping[str, np.ndarray]], target: Target, *, limits: Limits
    ) -> list[dict[str, np.ndarray]]:
        """Run an ONNX model on the simulator without keeping what it compiles to; bit for bit what `run` gives."""
        self.ensure_available()
        return simulate(model, samples, provider_options(target), limits=limits)

    def probe(
        self,
        questions: Sequence[Question],
        target: Target,
        *,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """Ask the compiler and the simulator about one-op models, about 15 ms each."""
        from npuopt.delegates.qnn.probe import probe  # noqa: PLC0415 -- imports this module

        return probe(questions, target, limits=limits, progress=progress)


def _accounted(
    made: _Made, header: onnx.ModelProto, target: Target
) -> tuple[Context, tuple[NodeOnDevice, ...], dict[str, Any]]:
    """Return what was compiled, where each node went by the compiler's own account, and figures.

    Raises:
        VendorToolError: when it took no node, or compiled for another chip than asked.
    """
    account = Account(read_placement(made.answer), _read_trace(made.trace / TRACE_FILE))
    if not account.on_npu:
        raise VendorToolError(f"{COMPILER} took no node{_first_reason(account, header)}", where=str(made.model))
    context = read_context(made.output)
    _ensure_built_for(context, target)
    figures: dict[str, Any] = {
        "soc_model": settings_of(target, Chip).soc_model,
        "soc": context.soc,
        "arch": context.arch,
        "vtcm_bytes": context.vtcm_bytes,
        "binary_bytes": context.binary.stat().st_size,
        "npu_graphs": context.graphs,
        "npu_operations": dict(sorted(Counter(kind for kind, _ in account.operations()).items())),
        "compile_seconds": float(made.answer["seconds"]),
        "licence": LICENCE,
    }
    return context, nodes_on_device(header, account, context.header), figures


def provider_options(target: Target) -> dict[str, str]:
    """Return the provider's options for a target.

    soc_model is always given: with the architecture alone a float model dies at finalize (MEM_ALLOC, code 1002), and
    with neither the compiler builds for v68.
    """
    return {"backend_type": "htp", "soc_model": str(settings_of(target, Chip).soc_model)}


def _ensure_built_for(context: Context, target: Target) -> None:
    """Refuse a binary whose own text names another architecture or size: unknown chip numbers compile as v68."""
    chip = settings_of(target, Chip)
    if (context.arch, context.vtcm_bytes) != (chip.arch, chip.vtcm_mib << 20):
        got = f"{context.soc} ({context.arch}, {context.vtcm_bytes >> 20} MiB VTCM)"
        asked = f"{chip.arch} with {chip.vtcm_mib} MiB VTCM"
        what = f"{COMPILER} built for {got}, but {target.name} is {asked}"
        raise VendorToolError(what, where=str(context.binary), hint="check delegate in the target's descriptor")


def _ensure_names(header: onnx.ModelProto, model: Path) -> None:
    """Refuse a model whose nodes the compiler's account could not be matched with."""
    counts = Counter(node.name for node in header.graph.node)
    if bad := [name for name, count in counts.items() if not name or count > 1]:
        what = f"two nodes are called {bad[0]!r}" if bad[0] else "a node has no name"
        raise InternalError(f"{what}; regions need unique node names", where=str(model))


def _read_trace(path: Path) -> dict[str, Any]:
    """Read the op trace; the provider writes none when it does not know the chip.

    Raises:
        VendorToolError: when it cannot be read, as then nothing proves what the NPU does.
    """
    if not path.exists():
        return {}
    try:
        with path.open("rb") as file:
            return json.loads(file.read(TRACE_BYTES))
    except (OSError, ValueError) as error:
        raise VendorToolError(f"{COMPILER} left a damaged op trace ({error})", where=str(path)) from error


def _first_reason(account: Account, header: onnx.ModelProto) -> str:
    reasons = account.reasons({node.name: node for node in header.graph.node})
    return next((f" ({name}: {reason})" for name, reason in reasons.items()), "; it may not know the chip's number")
