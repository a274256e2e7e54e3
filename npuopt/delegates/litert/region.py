"""Writes a region as a TFLite model and runs it with LiteRT's kernels: for this road and those of vendors behind it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from npuopt.delegates.contract import NodeOnDevice
from npuopt.delegates.litert.interpret import INTERPRETER, WORKER
from npuopt.delegates.litert.ports import save_ports
from npuopt.delegates.litert.toolchain import ensure_available
from npuopt.delegates.process import run_child
from npuopt.errors import InputError, VendorToolError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from npuopt.delegates.contract import Limits
    from npuopt.delegates.litert.export import Exported
    from npuopt.graph import Model

MODEL_FILE = "model.tflite"
PORTS_FILE = "model.json"
KERNELS = ("xnnpack", "builtin")
"""Sets of kernels that every model is run with, to see how close they come."""


@dataclass(frozen=True)
class WrittenRegion:
    """A region as a TFLite model that runs.

    Attributes:
        model: the region's graph.
        exported: what was written.
        figures: size, seconds, operators, and how close the sets of kernels come.
        tools: name -> version.
    """

    model: Model
    exported: Exported
    figures: dict[str, Any]
    tools: Mapping[str, str]


def write_region(
    source: Path, folder: Path, kernels: str, *, log: Path, limits: Limits, interpreted: bool = False
) -> WrittenRegion:
    """Write the ONNX file `source` into `folder` as model.tflite, with model.json about its edge, and run it.

    It is run on seeded data with `kernels`, which must take it, and with the sets of KERNELS beside. With
    `interpreted` those kernels are what computes in the end, and what they are coarse at goes through float.

    Raises:
        ToolchainMissingError: the extra is not installed.
        VendorToolError: a node has no TFLite form, or the interpreter does not run the model.
    """
    path = folder / MODEL_FILE
    started = time.perf_counter()
    model, exported = export_region(source, folder, interpreted=interpreted)
    seconds = time.perf_counter() - started
    sets = list(dict.fromkeys((kernels, *KERNELS)))
    request = {"operation": "check", "model": str(path.resolve()), "kernels": sets}
    answer = run_child(WORKER, request, log=log, limits=limits).require(INTERPRETER, where=str(source))
    _ensure_whole(exported, answer["operators"], answer["outputs"], source)
    figures = {
        "model_bytes": path.stat().st_size,
        "export_seconds": seconds,
        "invoke_seconds": float(answer["sets"][kernels]["seconds"]),
        "kernels": kernels,
        "kernel_sets": answer["sets"],
        "kernel_sets_cosine": answer["cosine"],
        "operators": exported.operators,
    }
    return WrittenRegion(model, exported, figures, answer["tools"])


def export_region(
    source: Path, folder: Path, *, interpreted: bool = False, folded_means: bool = False
) -> tuple[Model, Exported]:
    """Write the ONNX file `source` into `folder` as model.tflite, with model.json about its edge; return both.

    `interpreted` and `folded_means` are `export`'s.

    Raises:
        ToolchainMissingError: the extra is not installed.
        VendorToolError: a node has no TFLite form.
    """
    ensure_available()
    from npuopt.delegates.litert.export import export_model  # noqa: PLC0415 -- imports the schema, an extra
    from npuopt.graph import load  # noqa: PLC0415 -- heavy

    model = load(source)
    try:
        exported = export_model(model, folder / MODEL_FILE, interpreted=interpreted, folded_means=folded_means)
    except InputError as error:
        raise VendorToolError(error.what, where=error.where or str(source), hint=error.hint) from error
    save_ports(folder / PORTS_FILE, exported.inputs, exported.outputs)
    return model, exported


def nodes_within(model: Model, exported: Exported) -> tuple[NodeOnDevice, ...]:
    """Say of every node that it is in the TFLite model, and which of them compute in float there."""
    return tuple(
        NodeOnDevice(node.name or "", node.op_type, True, exported.in_float.get(node.name or "", ""))
        for node in model.graph
    )


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
