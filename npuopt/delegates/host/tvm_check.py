"""Names every node that TVM cannot take, before TVM sees the model.

TVM's own check knows no domains and no nodes: it compiles `my.domain::Relu` as Relu, a one-sided IsInf as the
two-sided one, and fills the mean of a LayerNormalization with zeros. The table here lists what was seen to give
the right numbers on the ONNX backend node tests (apache-tvm 0.27.0.post1, tests/delegates/test_host_tvm_nodes.py
runs them again); an operator that is not in it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from npuopt.delegates.host.tvm_check_rules import RULES
from npuopt.graph import DataType, dims, element_type, label, nodes, static_shape, subgraphs_of

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value

Rule: TypeAlias = Callable[["Node"], str]

STANDARD_DOMAINS = ("", "ai.onnx")
# float16 and float64 compile too, but without npuopt's loop nests, and some functions have no form in them.
ELEMENT_TYPES = frozenset(
    {
        DataType.FLOAT, DataType.BOOL,
        DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64,
        DataType.UINT8, DataType.UINT16, DataType.UINT32, DataType.UINT64,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Refusal:
    """A node that TVM cannot take, and why."""

    domain: str
    op_type: str
    node: str
    reason: str

    def __str__(self) -> str:
        """One line for a person."""
        domain = "" if self.domain in STANDARD_DOMAINS else f"{self.domain}::"
        return f"{domain}{self.op_type} node {self.node!r}: {self.reason}"


def find_refusals(model: Model, rules: Mapping[str, tuple[Rule, ...]] = RULES) -> list[Refusal]:
    """Every node of a model, shapes inferred, that TVM would not compile or would compile wrongly."""
    return [
        Refusal(node.domain, node.op_type, label(node), reason)
        for node in nodes(model)
        if (reason := _refuse(node, rules))
    ]


def _refuse(node: Node, rules: Mapping[str, tuple[Rule, ...]]) -> str:
    if node.domain not in STANDARD_DOMAINS:
        return "TVM looks at the name only, not at the domain"
    if node.op_type not in rules:
        return "TVM has no converter that was seen to give the right numbers"
    if subgraphs_of(node):
        return "subgraphs are not taken"
    for value in (*node.inputs, *node.outputs):
        if value is not None and (reason := _refuse_value(value)):
            return reason
    return next((reason for rule in rules[node.op_type] if (reason := rule(node))), "")


def _refuse_value(value: Value) -> str:
    if static_shape(value) is None:
        return f"{value.name!r} has the shape {dims(value)}; every dimension has to be a number"
    kind = element_type(value)
    return "" if kind in ELEMENT_TYPES else f"{value.name!r} has the element type {kind}"
