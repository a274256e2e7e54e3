"""The LiteRT road: a region becomes a TFLite model, which LiteRT's interpreter runs."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from npuopt.delegates.arrays import load_arrays, save_arrays
from npuopt.delegates.contract import CompiledRegion, NodeOnDevice
from npuopt.delegates.litert.ports import load_ports, save_ports
from npuopt.delegates.litert.toolchain import ensure_available
from npuopt.delegates.process import run_child
from npuopt.errors import InputError, InternalError, VendorToolError
from npuopt.target.schema import LiteRtDelegate as Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.delegates.litert.export import Exported
    from npuopt.graph import Model
    from npuopt.target import Target

WORKER = Path(__file__).with_name("worker.py")
INTERPRETER = "the LiteRT interpreter"
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
        _ensure_whole(exported, answer["operators"], model)
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
        inputs, outputs = load_ports(region.folder / PORTS_FILE)
        for sample in samples:
            if missing := [port.name for port in inputs if port.name not in sample]:
                raise InputError("is missing from the sample", where=f"input {missing[0]!r}")
        with tempfile.TemporaryDirectory(prefix="npuopt-litert-") as scratch:
            given = [Path(scratch) / f"in{index}.npz" for index in range(len(samples))]
            made = [Path(scratch) / f"out{index}.npz" for index in range(len(samples))]
            for path, sample in zip(given, samples, strict=True):
                save_arrays(path, [port.store(sample[port.name]) for port in inputs])
            request = {
                "operation": "run",
                "model": str((region.folder / region.files[0]).resolve()),
                "kernels": kernels_of(target),
                "inputs": [str(path) for path in given],
                "outputs": [str(path) for path in made],
            }
            child = run_child(WORKER, request, log=Path(scratch) / LOG_FILE, limits=limits)
            child.require(INTERPRETER, where=str(region.folder))
            results = [load_arrays(path) for path in made]
        return [
            {port.name: port.restore(array) for port, array in zip(outputs, arrays, strict=True)} for arrays in results
        ]


def kernels_of(target: Target) -> str:
    """Return which kernels the target runs with.

    Raises:
        InternalError: when the target belongs to another road.
    """
    if isinstance(target.delegate, Settings):
        return target.delegate.kernels
    raise InternalError(f"{target.name} is compiled by {target.delegate.road}, not by {LiteRtDelegate.road}")


def _ensure_whole(exported: Exported, operators: Mapping[str, int], model: Path) -> None:
    """Compare what was written with the interpreter's own list."""
    if Counter(operators) != Counter(exported.operators):
        what = f"{INTERPRETER} lists {dict(operators)}, but {exported.operators} were written"
        raise VendorToolError(what, where=str(model))


def _nodes(model: Model, exported: Exported) -> tuple[NodeOnDevice, ...]:
    """Say of every node that it is in the TFLite model: the interpreter took all of it."""
    return tuple(
        NodeOnDevice(node.name or "", node.op_type, True, exported.in_float.get(node.name or "", ""))
        for node in model.graph
    )
