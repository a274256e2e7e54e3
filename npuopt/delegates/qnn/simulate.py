"""Runs a model on the vendor's simulator, in a child process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from npuopt.delegates.qnn.placement import DEQUANTIZE, PROVIDER, QUANTIZE, Account, original_name, read_placement
from npuopt.delegates.sample_runs import SampleRunner
from npuopt.delegates.samples import read_header
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
    runner = SampleRunner("the Hexagon simulator", WORKER)
    request = {"operation": "simulate", "model": str(model), "provider_options": dict(provider_options)}
    results, answer = runner.run(request, header, samples, where=str(model), limits=limits)
    _ensure_on_npu(header, Account(read_placement(answer)), model)
    return results


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
