"""Computes nodes whose inputs are all constants: in one ONNX Runtime session, or one by one where that fails."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnx_ir as ir

from npuopt.errors import InputError
from npuopt.graph.execution import Session
from npuopt.graph.headers import to_proto
from npuopt.graph.queries import constant, is_constant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NATIVE_KINDS = "biufO"
"""numpy kinds that ONNX Runtime takes and returns as arrays; the others (bfloat16, int4, float8) it does not."""


def evaluate(
    nodes: Sequence[ir.Node], wanted: Iterable[ir.Value], imports: Mapping[str, int], ir_version: int
) -> tuple[dict[ir.Value, np.ndarray], list[ir.Node]]:
    """Compute values made by `nodes` from constants.

    Args:
        nodes: in graph order; every input is a constant or made by a node before it. No subgraphs, no randomness.
        wanted: outputs of these nodes.
        imports: domain -> opset version.
        ir_version: of the model that the nodes come from.

    Returns:
        Those of `wanted` that could be computed, and the nodes that neither ONNX Runtime nor the ONNX reference
        evaluator can run.
    """
    wanted = list(wanted)
    nodes = _needed(nodes, wanted)
    if all(map(_is_native, nodes)):
        try:
            return _run(nodes, wanted, imports, ir_version), []
        except InputError:
            pass  # one node that cannot run spoils the whole session
    computed: dict[ir.Value, np.ndarray] = {}
    failed: list[ir.Node] = []
    for node in nodes:
        if all(value is None or is_constant(value) or value in computed for value in node.inputs):
            outputs = _run_alone(node, computed, imports, ir_version)
            computed |= outputs
            failed += [] if outputs else [node]
    return {value: computed[value] for value in wanted if value in computed}, failed


def _needed(nodes: Sequence[ir.Node], wanted: Sequence[ir.Value]) -> list[ir.Node]:
    """Return the nodes that lead to what is wanted."""
    read: set[ir.Value | None] = set(wanted)
    needed: list[ir.Node] = []
    for node in reversed(nodes):
        if not read.isdisjoint(node.outputs):
            needed.append(node)
            read.update(node.inputs)
    return needed[::-1]


def _run(
    nodes: Sequence[ir.Node],
    wanted: Sequence[ir.Value],
    imports: Mapping[str, int],
    ir_version: int,
    computed: Mapping[ir.Value, np.ndarray] | None = None,
) -> dict[ir.Value, np.ndarray]:
    """Copy the nodes into a model of their own, whose inputs are their constants, and run it."""
    model, copies, feeds = _model_of(nodes, wanted, imports, ir_version, computed or {})
    results = Session(model, threads=1).run(feeds)
    return {value: np.asarray(results[cast("str", copies[value].name)]) for value in wanted}


def _run_alone(
    node: ir.Node, computed: Mapping[ir.Value, np.ndarray], imports: Mapping[str, int], ir_version: int
) -> dict[ir.Value, np.ndarray]:
    """Run one node in ONNX Runtime, else in the reference evaluator; nothing when neither can."""
    wanted = [output for output in node.outputs if output.name]
    if _is_native(node):
        try:
            return _run([node], wanted, imports, ir_version, computed)
        except InputError:
            pass
    model, copies, feeds = _model_of([node], wanted, imports, ir_version, computed)
    try:
        evaluator: Any = import_module("onnx.reference").ReferenceEvaluator(to_proto(model))
        results = evaluator.run([copies[value].name for value in wanted], feeds)
    except Exception:  # noqa: BLE001 -- it raises whatever numpy and its ops raise; the node is left as it is
        return {}
    found = {value: np.asarray(result) for value, result in zip(wanted, results, strict=True)}
    return found if all(_has_type(array, value) for value, array in found.items()) else {}


def _model_of(
    nodes: Sequence[ir.Node],
    wanted: Sequence[ir.Value],
    imports: Mapping[str, int],
    ir_version: int,
    computed: Mapping[ir.Value, np.ndarray],
) -> tuple[ir.Model, dict[ir.Value, ir.Value], dict[str, np.ndarray]]:
    """Return the copy, a map from the values to their copies, and the constants to feed it with."""
    copies: dict[ir.Value, ir.Value] = {}
    feeds: dict[str, np.ndarray] = {}
    inputs: list[ir.Value] = []
    copied_nodes: list[ir.Node] = []
    for node in nodes:
        for value in node.inputs:
            if value is not None and value not in copies:
                array = computed[value] if value in computed else cast("np.ndarray", constant(value))
                copy = ir.Value(name=f"c{len(copies)}", type=value.type, shape=ir.Shape(array.shape))
                copies[value] = copy
                feeds[f"c{len(copies) - 1}"] = array
                inputs.append(copy)
        outputs = [
            ir.Value(name=f"n{len(copied_nodes)}_{i}" if o.name else "", type=o.type)
            for i, o in enumerate(node.outputs)
        ]
        copies.update(zip(node.outputs, outputs, strict=True))
        copied_nodes.append(
            ir.Node(
                node.domain,
                node.op_type,
                [None if value is None else copies[value] for value in node.inputs],
                node.attributes.values(),
                overload=node.overload,
                outputs=outputs,
            )
        )
    graph = ir.Graph(
        inputs, [copies[value] for value in wanted], nodes=copied_nodes, opset_imports=dict(imports), name="constants"
    )
    return ir.Model(graph, ir_version=ir_version), copies, feeds


def _is_native(node: ir.Node) -> bool:
    return all(_native_type(value) for value in (*node.inputs, *node.outputs) if value is not None and value.name)


def _native_type(value: ir.Value) -> bool:
    if value.dtype is None:
        return False
    return value.dtype == ir.DataType.STRING or value.dtype.numpy().kind in NATIVE_KINDS


def _has_type(array: np.ndarray, value: ir.Value) -> bool:
    return value.dtype is None or value.dtype == ir.DataType.STRING or array.dtype == value.dtype.numpy()
