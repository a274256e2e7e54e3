"""Model-local functions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_ir import AttributeType
from onnx_ir.passes import PreconditionError
from onnx_ir.passes.common import InlinePass, RemoveUnusedFunctionsPass, RemoveUnusedOpsetsPass

from npuopt.errors import InputError
from npuopt.graph import graphs_of, label, nodes
from npuopt.graph.inference import learn
from npuopt.graph.shadowing import end_shadowing
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx_ir import Function, OperatorIdentifier

    from npuopt.graph import Graph, Model, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class FoldFunctions(Pass):
    """Calls of model-local functions become the functions' bodies.

    y = local.Double(x), Double(a) {Add(a, a)} -> y = Add(x, x)

    Functions that call functions fold too; functions that nobody calls (any more) are dropped.

    Left alone: functions written for another opset version than the model; functions that return an input, or one
    value twice; functions that are called with a graph as an attribute.
    """

    name: ClassVar[str] = "fold-functions"
    breaks: ClassVar[frozenset[str]] = frozenset({"shapes-known", "constants-folded"})

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Let onnx-ir inline what can be.

        Raises:
            InputError: when functions call each other in a circle.
        """
        del target
        report = Report(self.name)
        if not model.functions:
            return report
        refused = _refusals(model)
        calls = _calls(model, nodes(model))
        for node in calls:
            why = refused.get(node.op_identifier())
            entries = report.declined if why else report.changed
            entries.append(Entry(label(node), node.op_type, why or "its body stands in its place"))
        before = set(model.functions)
        _inline(model, refused)
        called = {node.op_identifier() for node in calls}
        for domain, op_type, _ in sorted(before - set(model.functions) - called):
            report.changed.append(Entry(f"{domain}.{op_type}", "function", "nobody calls it any more"))
        return report


def _refusals(model: Model) -> dict[OperatorIdentifier, str]:
    """Return the functions that stay, with the reason."""
    refused = {function.identifier(): _refusal(function, model) for function in model.functions.values()}
    bodies = [node for function in model.functions.values() for node in function.all_nodes()]
    for node in _calls(model, [*nodes(model), *bodies]):
        refused[node.op_identifier()] = refused[node.op_identifier()] or _call_refusal(node, model)
    return {identifier: why for identifier, why in refused.items() if why}


def _calls(model: Model, candidates: Iterable[Node]) -> list[Node]:
    return [node for node in candidates if node.op_identifier() in model.functions]


def _make_way(model: Model) -> None:
    """Rename what functions make after something in a subgraph: onnx-ir looks for free names in one graph only.

    It puts numbers behind names, so those with a number are taken with them.
    """
    inner = (graph for graph in graphs_of(model) if graph is not model.graph)
    held = [value for graph in inner for value in (*graph.inputs, *graph.initializers.values(), *_made(graph))]
    taken = {_stem(value.name or "") for value in held}
    for function in model.functions.values() if taken else ():
        for value in _made(function):
            while value.name and _stem(value.name) in taken:
                value.name = f"{function.name}/{value.name}"


def _made(graph: Graph | Function) -> list[Value]:
    return [output for node in graph.all_nodes() for output in node.outputs]


def _stem(name: str) -> str:
    return re.sub(r"(_\d+)+$", "", name)


def _inline(model: Model, refused: dict[OperatorIdentifier, str]) -> None:
    _make_way(model)
    outputs = [list(graph.outputs) for graph in graphs_of(model)]
    inline = InlinePass(criteria=lambda function: function.identifier() not in refused)
    try:
        inline(model)
    except PreconditionError as error:
        raise InputError(f"model-local functions call each other in a circle ({error})") from None
    for graph, before in zip(graphs_of(model), outputs, strict=False):
        for new, old in zip(graph.outputs, before, strict=True):
            learn(new, old)
            new.metadata_props.update(old.metadata_props)
    end_shadowing(model)
    RemoveUnusedFunctionsPass()(model)
    RemoveUnusedOpsetsPass()(model)


def _refusal(function: Function, model: Model) -> str:
    """Say why a function cannot be inlined, or return an empty string."""
    for domain, version in function.opset_imports.items():
        ours = model.opset_imports.get(domain, version)
        if ours != version:
            return f"it is written for version {version} of domain {domain!r}, the model for {ours}"
    outputs = list(function.outputs)
    if len(set(outputs)) < len(outputs) or not set(outputs).isdisjoint(function.inputs):
        return "it returns an input, or one value twice"
    return ""


def _call_refusal(node: Node, model: Model) -> str:
    if any(attr.type in (AttributeType.GRAPH, AttributeType.GRAPHS) for attr in node.attributes.values()):
        return "it is called with a graph as an attribute"
    takes = len(model.functions[node.op_identifier()].inputs)
    return f"it is called with {len(node.inputs)} inputs and takes {takes}" if len(node.inputs) > takes else ""
