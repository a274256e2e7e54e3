"""What the Vitis AI provider says of each node: its operator assignment report, vitisai_ep_report.json."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from npuopt.delegates.contract import NodeOnDevice
from npuopt.errors import VendorToolError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import onnx

REPORT_FILE = "vitisai_ep_report.json"
REPORT_BYTES = 64 << 20
"""Largest report that is read; each node takes about half a KiB."""
ALL = "all"
NPU_DEVICES = frozenset({"NPU", "DPU", "IPU", "VAIML"})
"""What the provider calls the NPU: DPU and IPU in older releases, VAIML where its bfloat16 compiler took the node."""
CPU_DEVICES = {
    "CPU": "the provider's report leaves it to ONNX Runtime's CPU kernels",
    "VITIS_EP_CPU": "the provider's report has it computed by the provider's own CPU kernels",
}


@dataclass(frozen=True)
class Assignment:
    """One node as the provider saw it, after ONNX Runtime's own rewrites.

    Attributes:
        op_type: as in ONNX.
        outputs: names of the tensors it makes.
        device: as the report spells it.
    """

    op_type: str
    outputs: tuple[str, ...]
    device: str


@dataclass(frozen=True)
class Report:
    """The report, as far as it is read.

    Attributes:
        nodes: every node of the session's graph, in topological order.
        subgraphs: how many the provider made, by device.
    """

    nodes: tuple[Assignment, ...]
    subgraphs: Mapping[str, int]

    def figures(self) -> dict[str, Any]:
        """Return the counts that go into the manifest."""
        counted = Counter(node.device for node in self.nodes)
        on_npu = sum(count for device, count in counted.items() if device in NPU_DEVICES)
        return {
            "provider_nodes": dict(sorted(counted.items())),
            "provider_npu_nodes": on_npu,
            "provider_subgraphs": dict(sorted(self.subgraphs.items())),
        }


def read_report(path: Path) -> Report:
    """Read a report.

    Its form: Ryzen AI Software 1.8.0, docs/modelrun.rst ("Operator Assignment Report"), and what writes it in AMD's
    provider: `deviceStat` counts nodes by device, those of `all` first; `nodeStat` has each node's outputs, type and
    device; `subgraphStat` counts subgraphs. It is JSON made from a protobuf message: what is empty or 0 is left out.

    Raises:
        VendorToolError: it is missing, no such report, or its parts contradict each other.
    """
    try:
        with path.open("rb") as file:
            text = file.read(REPORT_BYTES + 1)
        content: object = json.loads(text) if len(text) <= REPORT_BYTES else "too large"
    except FileNotFoundError:
        raise VendorToolError("the provider wrote no report of where nodes went", where=str(path)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, str(error)) from None
    if not isinstance(content, dict):
        raise _unreadable(path, "it holds no JSON object, or more than 64 MiB")
    known = cast("dict[str, object]", content)
    nodes = tuple(_assignment(entry, path) for entry in _entries(known, "nodeStat", path))
    counts = {
        _text(entry, "name", path): _count(entry, "nodeNum", path) for entry in _entries(known, "deviceStat", path)
    }
    subgraphs = {
        _text(entry, "device", path): _count(entry, "count", path) for entry in _entries(known, "subgraphStat", path)
    }
    total = counts.pop(ALL, 0)
    if total != len(nodes) or sum(counts.values()) != total:
        raise _unreadable(path, f"it counts {total} nodes, {sum(counts.values())} by device, and lists {len(nodes)}")
    return Report(nodes, subgraphs)


def nodes_on_device(graph: onnx.GraphProto, report: Report) -> tuple[NodeOnDevice, ...]:
    """Say for the nodes of the region where the provider put them, found by the tensors that they make.

    Nodes that ONNX Runtime folds away ahead of the provider are not in its report, and left out. Those that it makes
    anew make no tensor of the region; on the processor they are listed by what they make, so that none is overlooked.
    """
    makers = {name: node for node in graph.node for name in node.output if name}
    placed: dict[str, NodeOnDevice] = {}
    for entry in report.nodes:
        on_npu = entry.device in NPU_DEVICES
        reason = "" if on_npu else CPU_DEVICES.get(entry.device, f"the provider's report puts it on {entry.device!r}")
        node = next((makers[name] for name in entry.outputs if name in makers), None)
        if node is not None:
            placed[node.name] = NodeOnDevice(node.name, node.op_type, on_npu, reason)
        elif not on_npu:
            name = entry.outputs[0] if entry.outputs else entry.op_type
            placed.setdefault(name, NodeOnDevice(name, entry.op_type, on_npu, reason))
    return tuple(placed.values())


def _assignment(entry: Mapping[str, object], path: Path) -> Assignment:
    outputs = entry.get("output", [])
    if not isinstance(outputs, list) or any(not isinstance(name, str) for name in cast("list[object]", outputs)):
        raise _unreadable(path, "a node's outputs are no list of names")
    return Assignment(_text(entry, "opType", path), tuple(cast("list[str]", outputs)), _text(entry, "device", path))


def _entries(content: Mapping[str, object], key: str, path: Path) -> Sequence[Mapping[str, object]]:
    found = content.get(key, [])
    if not isinstance(found, list) or any(not isinstance(entry, dict) for entry in cast("list[object]", found)):
        raise _unreadable(path, f"{key} is no list of objects")
    return cast("list[Mapping[str, object]]", found)


def _text(entry: Mapping[str, object], key: str, path: Path) -> str:
    found = entry.get(key, "")
    if not isinstance(found, str):
        raise _unreadable(path, f"{key} is no text")
    return found


def _count(entry: Mapping[str, object], key: str, path: Path) -> int:
    found = entry.get(key, 0)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise _unreadable(path, f"{key} is no count")
    return found


def _unreadable(path: Path, why: str) -> VendorToolError:
    return VendorToolError(f"the provider's report cannot be read ({why})", where=str(path))
