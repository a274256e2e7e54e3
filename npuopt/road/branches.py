"""Decoders with two branches in one graph, one that takes a cache and one that begins without: the latter is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import DataType, Editor, element_type, label, nodes, producer, rank
from npuopt.passes.clean.drop_unused_nodes import DropUnusedNodes
from npuopt.passes.clean.fold_constant_if import FoldConstantIf
from npuopt.pipeline.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Collection

    from npuopt.graph import Graph, Model, Node, Value

CACHE_RANK = 4
PASSES_ON = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Ops between the switch and the condition."""


def take_branch(model: Model) -> None:
    """Decide choices between a branch with a cache and one without for the latter; the compiler adds caches itself.

    That is how optimum writes `decoder_model_merged.onnx`: `use_cache_branch` is the condition of an If. The switch,
    caches that only the other branch read, and the caches that the model gives back are dropped. A model without such
    a choice stays as it is.

    Raises:
        InputError: when both branches take a cache, or neither does.
    """
    caches = {value for value in model.graph.inputs if rank(value) == CACHE_RANK}
    choices = [node for node in nodes(model, "If") if caches and _switch(node) is not None]
    if not choices:
        return
    edit = Editor(model)
    for node in choices:
        answer = np.array(_is_then_without(node, caches))
        node.replace_input_with(0, edit.constant(answer, near=node, name=f"{label(node)}/taken"))
    for value in [value for value in model.graph.outputs if rank(value) == CACHE_RANK]:
        model.graph.outputs.remove(value)
    Runner(None, "off").run(model, [FoldConstantIf(), DropUnusedNodes()])
    for value in list(model.graph.inputs):
        if not value.uses() and not value.is_graph_output():
            model.graph.inputs.remove(value)


def _switch(node: Node) -> Value | None:
    """Return the input that decides a choice; None where it is computed otherwise."""
    value = node.inputs[0]
    while (before := producer(value, *PASSES_ON)) is not None:
        value = before.inputs[0]
    is_switch = value is not None and value.is_graph_input() and element_type(value) is DataType.BOOL
    return value if is_switch else None


def _is_then_without(node: Node, caches: Collection[Value]) -> bool:
    """Say whether the first branch is the one that takes no cache."""
    first, second = (_reads(node.attributes[name].as_graph(), caches) for name in ("then_branch", "else_branch"))
    if first == second:
        what = "both its branches take a cache" if first else "neither of its branches takes a cache"
        raise InputError(what, where=f"node {label(node)}", hint="export the branch that starts without one alone")
    return second


def _reads(branch: Graph, values: Collection[Value]) -> bool:
    inner = [value for node in branch.all_nodes() for value in node.inputs]
    return any(value in values for value in (*inner, *branch.outputs))
