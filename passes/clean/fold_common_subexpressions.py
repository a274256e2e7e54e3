"""Equal nodes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import onnx_ir as ir

from npuopt.graph import Editor, graphs_of, is_constant, label
from npuopt.graph.queries import STANDARD_DOMAINS, subgraphs_of
from npuopt.graph.randomness import is_random
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Graph, Model, Node
    from npuopt.target import Target

SMALL_TENSOR = 1024
"""Elements up to which a tensor attribute is compared by its bytes; larger ones are equal to themselves only."""

ABSORBING = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Ops whose weights take in a BatchNormalization behind them, if it is the only one."""


@dataclass(frozen=True)
class FoldCommonSubexpressions(Pass):
    """Nodes that compute the same from the same inputs become one.

    a = Transpose(x), b = Transpose(x), y = Add(a, b) -> a = Transpose(x), y = Add(a, a)

    Branches and loop bodies are looked at one by one.

    Left alone: random ops; control flow; ops of other domains, of which nobody says that they always compute the
    same; nodes that both make a graph output, since both names stay; convolutions and products that have
    BatchNormalizations of their own behind them, which can then go into their weights.
    """

    name: ClassVar[str] = "fold-common-subexpressions"

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Number the values in graph order."""
        del target
        report = Report(self.name)
        edit = Editor(model)
        for graph in graphs_of(model):
            _fold_in(graph, edit, report)
        return report


def _fold_in(graph: Graph, edit: Editor, report: Report) -> None:
    alike: dict[Hashable, Node] = {}
    seen: dict[Hashable, Node] = {}
    for node in tuple(graph):
        candidate = alike.setdefault((node.op_type, *map(id, node.inputs)), node)
        if candidate is node or node.domain not in STANDARD_DOMAINS or subgraphs_of(node) or is_random(node):
            continue
        seen.setdefault(_key(candidate), candidate)  # attributes are worth a look only now
        first = seen.setdefault(_key(node), node)
        if first is node:
            continue
        pairs = zip(node.outputs, first.outputs, strict=True)
        both = [output.name for output, kept in pairs if output.is_graph_output() and kept.is_graph_output()]
        if both:
            text = f"{both[0]} and the equal value of {label(first)} are both graph outputs"
            report.declined.append(Entry(label(node), node.op_type, text))
            continue
        if node.op_type in ABSORBING and _normalized_apart(node, first):
            text = f"the BatchNormalization behind it is not that of {label(first)}"
            report.declined.append(Entry(label(node), node.op_type, text))
            continue
        report.changed.append(Entry(label(node), node.op_type, f"equals {label(first)}"))
        edit.replace_node(node, *first.outputs)


def _normalized_apart(node: Node, first: Node) -> bool:
    """Say whether only BatchNormalizations read both, with other parameters: two nodes in the end, and not three."""
    results = (node.outputs[0], first.outputs[0])
    if any(result.is_graph_output() for result in results) or not is_constant(node.inputs[1]):
        return False
    readers, others = ({use.node for use in result.uses()} for result in results)
    if not readers or any(reader.op_type != "BatchNormalization" for reader in readers | others):
        return False
    parameters, taken = ({tuple(map(id, reader.inputs[1:])) for reader in found} for found in (readers, others))
    return not parameters & taken


def _key(node: Node) -> Hashable:
    attributes = sorted((name, _attribute_key(attr)) for name, attr in node.attributes.items())
    return (
        node.op_identifier(),
        tuple(None if value is None else id(value) for value in node.inputs),
        tuple(attributes),
        tuple(bool(output.name) for output in node.outputs),
    )


def _attribute_key(attr: ir.Attr) -> str:
    """Return a text that is the same for equal attributes only."""
    if attr.is_ref():
        return f"reference {attr.ref_attr_name}"
    if attr.type == ir.AttributeType.TENSOR:
        tensor = attr.as_tensor()
        if tensor.size > SMALL_TENSOR or tensor.dtype == ir.DataType.STRING:
            return f"tensor {id(tensor)}"
        return f"{tensor.dtype} {tensor.shape} {tensor.tobytes().hex()}"
    if attr.type in (ir.AttributeType.FLOAT, ir.AttributeType.INT, ir.AttributeType.STRING):
        return f"{attr.type} {attr.value!r}"
    if attr.type in (ir.AttributeType.FLOATS, ir.AttributeType.INTS, ir.AttributeType.STRINGS):
        return f"{attr.type} {tuple(attr.value)!r}"
    return f"{attr.type} {id(attr)}"
