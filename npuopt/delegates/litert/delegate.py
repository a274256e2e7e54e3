"""The LiteRT road: a region becomes a TFLite model, which LiteRT's interpreter runs."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from npuopt.delegates.contract import CompiledRegion, NodeOnDevice
from npuopt.delegates.litert.interpret import INTERPRETER, WORKER, interpret
from npuopt.delegates.litert.ports import save_ports
from npuopt.delegates.litert.toolchain import ensure_available
from npuopt.delegates.process import run_child
from npuopt.errors import InputError, InternalError, VendorToolError
from npuopt.target.schema import LiteRtDelegate as Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.delegates.litert.export import Exported
    from npuopt.graph import Model
    from npuopt.target import Target
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question

MODEL_FILE = "model.tflite"
PORTS_FILE = "model.json"
LOG_FILE = "litert.log"


class LiteRtDelegate:
    """Writes regions as TFLite models and runs them with the kernels that the target names."""

    road: ClassVar[str] = "litert"

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when the extra is not installed."""
        ensure_available()

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Write `model` into `folder` as model.tflite, with model.json about its edge, and run it once on zeros.

        Raises:
            ToolchainMissingError: the extra is not installed.
            VendorToolError: a node has no TFLite form, or the interpreter does not run the model.
        """
        self.ensure_available()
        from npuopt.delegates.litert.export import export_model  # noqa: PLC0415 -- imports the schema, an extra
        from npuopt.graph import load  # noqa: PLC0415 -- heavy

        started = time.perf_counter()
        loaded = load(model)
        try:
            exported = export_model(loaded, folder / MODEL_FILE)
        except InputError as error:
            raise VendorToolError(error.what, where=error.where or str(model), hint=error.hint) from error
        seconds = time.perf_counter() - started
        save_ports(folder / PORTS_FILE, exported.inputs, exported.outputs)
        request = {"operation": "check", "model": str((folder / MODEL_FILE).resolve()), "kernels": kernels_of(target)}
        child = run_child(WORKER, request, log=folder / LOG_FILE, limits=limits)
        answer = child.require(INTERPRETER, where=str(model))
        _ensure_whole(exported, answer["operators"], answer["outputs"], model)
        figures: dict[str, Any] = {
            "model_bytes": (folder / MODEL_FILE).stat().st_size,
            "export_seconds": seconds,
            "invoke_seconds": float(answer["seconds"]),
            "kernels": kernels_of(target),
            "operators": exported.operators,
        }
        files = (MODEL_FILE, PORTS_FILE)
        nodes = _nodes(loaded, exported)
        return CompiledRegion(self.road, folder, files, nodes, figures, answer["tools"], LOG_FILE)

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run a compiled region in the interpreter, once a sample.

        Raises:
            InputError: a sample does not fit.
            VendorToolError: the interpreter failed.
        """
        self.ensure_available()
        model, ports = region.folder / region.files[0], region.folder / PORTS_FILE
        return interpret(model, ports, samples, kernels_of(target), limits=limits)

    def probe(
        self,
        questions: Sequence[Question],
        target: Target,
        *,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """Export one-op models and run them, about 15 ms each."""
        from npuopt.delegates.litert.probe import probe  # noqa: PLC0415 -- imports this module

        return probe(questions, target, limits=limits, progress=progress)


def kernels_of(target: Target) -> str:
    """Return which kernels the target runs with.

    Raises:
        InternalError: when the target belongs to another road.
    """
    if isinstance(target.delegate, Settings):
        return target.delegate.kernels
    raise InternalError(f"{target.name} is compiled by {target.delegate.road}, not by {LiteRtDelegate.road}")


def _ensure_whole(
    exported: Exported, operators: Mapping[str, int], shapes: Sequence[Sequence[int]], model: Path
) -> None:
    """Compare what was written with the interpreter's own list of operators, and with the shapes that it makes."""
    if Counter(operators) != Counter(exported.operators):
        what = f"{INTERPRETER} lists {dict(operators)}, but {exported.operators} were written"
        raise VendorToolError(what, where=str(model))
    for port, shape in zip(exported.outputs, shapes, strict=True):
        if list(port.shape) != list(shape):
            what = f"{INTERPRETER} makes {port.name!r} in shape {list(shape)}, not {list(port.shape)}"
            raise VendorToolError(what, where=str(model))


def _nodes(model: Model, exported: Exported) -> tuple[NodeOnDevice, ...]:
    """Say of every node that it is in the TFLite model: the interpreter took all of it."""
    return tuple(
        NodeOnDevice(node.name or "", node.op_type, True, exported.in_float.get(node.name or "", ""))
        for node in model.graph
    )
