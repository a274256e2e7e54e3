"""Where each node of a region went: what a compiled TFLite file still holds besides the vendor's custom operator."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from npuopt.delegates.contract import NodeOnDevice
from npuopt.graph import is_op

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from npuopt.graph import Model, Node

ADDED = re.compile(r"_(transposed|requantized|whole|above|reduced|rows|copy|padded|\d+)$")
"""What the exporter appends to names of tensors that ONNX does not have."""


def nodes_on_device(
    model: Model, operators: Sequence[tuple[str, Sequence[str]]], reasons: Mapping[str, str], device: str
) -> tuple[NodeOnDevice, ...]:
    """Say for every node of the region whether the NPU has it.

    A TFLite operator that is left belongs to the node that makes its output; one that belongs to none, such as a
    conversion that the exporter wrote, is listed by the name of its output.

    Args:
        model: the region.
        operators: of the compiled file: name, names of its outputs.
        reasons: why operators are left, by the name of their output; "" has what the tool says without naming one.
        device: name of the custom operator that holds what runs on the NPU.
    """
    makers = _makers(model.graph)
    left: dict[str, str] = {}
    strangers: list[NodeOnDevice] = []
    for name, made in operators:
        if name == device:
            continue
        unnamed = reasons.get("", "the compiler gives no reason")
        why = next((reasons[tensor] for tensor in made if tensor in reasons), unnamed)
        node = next((found for tensor in made if (found := _owner(tensor, name, makers))), None)
        if node is None:
            strangers.append(NodeOnDevice(made[0] if made else name, name, on_npu=False, reason=why))
        else:
            left[node.name or ""] = why
    return (
        *(
            NodeOnDevice(node.name or "", node.op_type, (node.name or "") not in left, left.get(node.name or "", ""))
            for node in model.graph
        ),
        *strangers,
    )


def _makers(graph: Iterable[Node]) -> dict[str, tuple[Node, Node]]:
    """Return for each tensor's name the node that writes it, and the one whose float output it quantizes."""
    makers: dict[str, tuple[Node, Node]] = {}
    for node in graph:
        for value in node.outputs:
            computed = node
            if is_op(node, "QuantizeLinear") and node.inputs[0] is not None:
                computed = node.inputs[0].producer() or node
            makers[value.name or ""] = (node, computed)
    return makers


def _owner(tensor: str, operator: str, makers: Mapping[str, tuple[Node, Node]]) -> Node | None:
    while tensor not in makers:
        shorter = ADDED.sub("", tensor)
        if shorter == tensor:
            return None
        tensor = shorter
    written, computed = makers[tensor]
    return written if operator in ("QUANTIZE", "DEQUANTIZE") else computed
