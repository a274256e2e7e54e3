"""Runs a TFLite model with its ports in LiteRT's interpreter, in a child process: for this road and those behind it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from npuopt.delegates.arrays import SampleFiles
from npuopt.delegates.litert.ports import load_ports
from npuopt.delegates.process import run_child
from npuopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits

WORKER = Path(__file__).with_name("worker.py")
INTERPRETER = "the LiteRT interpreter"


def interpret(
    model: Path, ports: Path, samples: Sequence[Mapping[str, np.ndarray]], kernels: str, *, limits: Limits
) -> list[dict[str, np.ndarray]]:
    """Run every sample through `model`, all in one child.

    Args:
        model: the TFLite file.
        ports: what was saved about its edge.
        samples: ONNX arrays by name.
        kernels: reference, builtin or xnnpack.
        limits: of the child.

    Raises:
        InputError: a sample does not fit.
        VendorToolError: the interpreter failed.
    """
    inputs, outputs = load_ports(ports)
    for sample in samples:
        if missing := [port.name for port in inputs if port.name not in sample]:
            raise InputError("is missing from the sample", where=f"input {missing[0]!r}")
    with tempfile.TemporaryDirectory(prefix="npuopt-litert-") as scratch:
        files = SampleFiles.write(
            Path(scratch), ([port.store(sample[port.name]) for port in inputs] for sample in samples)
        )
        request = {
            "operation": "run",
            "model": str(model.resolve()),
            "kernels": kernels,
            **files.request,
        }
        child = run_child(WORKER, request, log=Path(scratch) / "litert.log", limits=limits)
        child.require(INTERPRETER, where=str(model))
        results = files.results()
    return [{port.name: port.restore(array) for port, array in zip(outputs, arrays, strict=True)} for arrays in results]
