"""Runs a model on the vendor's simulator, in a child process."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from npuopt.delegates.arrays import SampleFiles
from npuopt.delegates.process import run_child
from npuopt.delegates.qnn.placement import DEQUANTIZE, PROVIDER, QUANTIZE, Account, original_name, read_placement
from npuopt.delegates.samples import check_sample, read_header, run_time_inputs
from npuopt.errors import VendorToolError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits

WORKER = Path(__file__).with_name("worker.py")


def simulate(
    model: Path,
    samples: Sequence[Mapping[str, np.ndarray]],
    provider_options: Mapping[str, str],
    *,
    limits: Limits,
) -> list[dict[str, np.ndarray]]:
    """Run every sample through `model`, an EPContext model or one that is compiled on the way, in one child.

    Raises:
        InputError: when a sample lacks an input or holds one of the wrong type or shape.
        VendorToolError: when the simulator fails, or when anything but the graph's edge would run on the host.
    """
    header = read_header(model)
    inputs = run_time_inputs(header)
    for sample in samples:
        check_sample(sample, inputs)
    with tempfile.TemporaryDirectory(prefix="npuopt-simulate-") as scratch:
        folder = Path(scratch)
        files = SampleFiles.write(folder, ([sample[value.name] for value in inputs] for sample in samples))
        request = {
            "operation": "simulate",
            "model": str(model),
            "names": [value.name for value in inputs],
            **files.request,
            "provider_options": dict(provider_options),
        }
        child = run_child(WORKER, request, log=folder / "simulator.log", limits=limits)
        answer = child.require("the Hexagon simulator", where=str(model))
        _ensure_on_npu(header, Account(read_placement(answer)), model)
        return [dict(zip(answer["outputs"], arrays, strict=True)) for arrays in files.results()]


def _ensure_on_npu(header: onnx.ModelProto, account: Account, model: Path) -> None:
    """Refuse numbers of which the host made a part: they would prove nothing about the chip."""
    known = {node.name: node for node in header.graph.node}
    for provider, nodes in account.placement:
        for name, op_type in nodes:
            if provider != PROVIDER and op_type not in (QUANTIZE, DEQUANTIZE):
                node = original_name(name, known) or name
                raise VendorToolError(f"the simulator leaves {op_type} node {node!r} to the host", where=str(model))
    if not account.on_npu:
        raise VendorToolError("the simulator leaves every node to the host", where=str(model))
