"""Where every node of a region went, from the provider's own account: the graph assignment and the op trace."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from npuopt.delegates.contract import NodeOnDevice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx

PROVIDER = "QNNExecutionProvider"
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
ADDED = re.compile(r"(_token_\d+|/duplicated|/[A-Za-z]+Fusion|_dup\d*|_\d+)$")
"""What ONNX Runtime appends to node names while it lays a graph out (seen in 1.31.1)."""

Placement = list[tuple[str, list[tuple[str, str]]]]
"""Of each subgraph: its provider and its nodes, as (name, op type)."""


def original_name(name: str, known: Mapping[str, object]) -> str | None:
    """Strip what ONNX Runtime appended until the name is one of `known`; None for a node it inserted."""
    while name not in known:
        shorter = ADDED.sub("", name)
        if shorter == name:
            return None
        name = shorter
    return name


@dataclass(frozen=True)
class Account:
    """What the provider said about one model.

    Attributes:
        placement: the graph assignment, which is the truth about where nodes run.
        trace: the op trace, which knows why, and which nodes became one operation.
    """

    placement: Placement
    trace: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def on_npu(self) -> int:
        """Number of nodes that the provider took."""
        return sum(len(nodes) for provider, nodes in self.placement if provider == PROVIDER)

    @property
    def subgraphs_on_npu(self) -> int:
        """Number of graphs on the NPU; more than one means that the host works in between."""
        return sum(provider == PROVIDER for provider, _ in self.placement)

    def reasons(self, known: Mapping[str, object]) -> dict[str, str]:
        """Return why nodes were refused, by original name."""
        found: dict[str, str] = {}
        for entry in self.trace.get("unsupported_nodes") or ():
            name = original_name(str(entry.get("node_name", "")), known)
            if name is not None:
                found.setdefault(name, " ".join(str(entry.get("reason", "")).split()))
        return found

    def operations(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Yield each operation of the NPU graph: its QNN type and the names of the nodes it was made from."""
        for subgraph in self.trace.get("subgraph_traces") or ():
            for mapping in subgraph.get("op_mappings") or ():
                sources = (source["name"] for source in mapping.get("sources") or () if source.get("type") == "OP")
                yield str(mapping.get("dst_qnn_op_type", "")), frozenset(sources)


def read_placement(answer: Mapping[str, Any]) -> Placement:
    """Read the placement of a worker's answer."""
    return [(str(provider), [(str(name), str(op)) for name, op in nodes]) for provider, nodes in answer["placement"]]


def nodes_on_device(model: onnx.ModelProto, account: Account, compiled: onnx.ModelProto) -> tuple[NodeOnDevice, ...]:
    """Say for every node of `model`, and every node that the tool inserted on the host, where it went and why.

    Args:
        model: what was compiled.
        account: what the provider said.
        compiled: what it was compiled to; its edge may have QuantizeLinear and DequantizeLinear that are new.
    """
    edges = edge_nodes(model) | edge_nodes(compiled)
    known = {node.name: node for node in model.graph.node}
    providers: defaultdict[str, set[str]] = defaultdict(set)
    inserted: list[NodeOnDevice] = []
    for provider, nodes in account.placement:
        for name, op_type in nodes:
            original = original_name(name, known)
            if original is not None:
                providers[original].add(provider)
            elif provider != PROVIDER:
                reason = "inserted by the tool, on the host"
                inserted.append(NodeOnDevice(name, op_type, on_npu=False, reason=reason, edge=name in edges))
    reasons = account.reasons(known)
    in_float = nodes_in_float(model, account)
    placed: list[NodeOnDevice] = []
    for name, node in known.items():
        if providers[name] - {PROVIDER}:
            edge = name in edges
            reason = "at the graph's edge" if edge else reasons.get(name, "left on the host without a reason")
            placed.append(NodeOnDevice(name, node.op_type, on_npu=False, reason=reason, edge=edge))
        else:
            reason = "computed in float between Dequantize and Quantize" if name in in_float else ""
            if not providers[name] and node.op_type not in (QUANTIZE, DEQUANTIZE):
                reason = "merged into its neighbours by the tool"
            placed.append(NodeOnDevice(name, node.op_type, on_npu=True, reason=reason))
    return (*placed, *inserted)


def edge_nodes(model: onnx.ModelProto) -> frozenset[str]:
    """Name the QuantizeLinear that read graph inputs and the DequantizeLinear that make graph outputs."""
    inputs = {value.name for value in model.graph.input}
    outputs = {value.name for value in model.graph.output}
    return frozenset(
        node.name
        for node in model.graph.node
        if (node.op_type == QUANTIZE and node.input[0] in inputs)
        or (node.op_type == DEQUANTIZE and outputs.intersection(node.output))
    )


def nodes_in_float(model: onnx.ModelProto, account: Account) -> frozenset[str]:
    """Name the nodes that are quantized in the graph and yet computed in float on the NPU.

    The compiler takes a node whose QuantizeLinear and DequantizeLinear it cannot absorb as Dequantize, the
    operation in float, Quantize. The op trace shows it: such an operation is made from the node alone, or the node's
    group has a Dequantize of its own.
    """
    types = {name: op_type for _, nodes in account.placement for name, op_type in nodes}
    known = {node.name: node for node in model.graph.node}
    absorbed: dict[str, bool] = {}
    converted: set[str] = set()
    for kind, sources in account.operations():
        quantized = any(types.get(source) in (QUANTIZE, DEQUANTIZE) for source in sources)
        for source in sources:
            if (name := original_name(source, known)) is not None:
                absorbed[name] = absorbed.get(name, False) or quantized
                if kind in ("Dequantize", "Quantize") and len(sources) > 1:
                    converted.add(name)
    around = set(_between_quantization(list(model.graph.node)))
    return frozenset(name for name, inside in absorbed.items() if name in around and (name in converted or not inside))


def _between_quantization(nodes: Sequence[onnx.NodeProto]) -> Iterator[str]:
    """Yield the names of nodes that read from DequantizeLinear or write to QuantizeLinear."""
    dequantized = {value for node in nodes if node.op_type == DEQUANTIZE for value in node.output}
    quantized = {node.input[0] for node in nodes if node.op_type == QUANTIZE}
    for node in nodes:
        if node.op_type not in (QUANTIZE, DEQUANTIZE) and (
            dequantized.intersection(node.input) or quantized.intersection(node.output)
        ):
            yield node.name
