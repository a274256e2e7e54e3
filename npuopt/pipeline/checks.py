"""What must be true of a model after every pass, whichever pass it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.errors import InputError
from npuopt.graph import check, dims, graphs_of
from npuopt.graph.shape_results import MADE_UP_NAME
from npuopt.pipeline.survey import survey

if TYPE_CHECKING:
    from npuopt.graph import Model, Value

Described = tuple[str, str, tuple[int | str | None, ...] | None]
Interface = tuple[tuple[Described, ...], tuple[Described, ...]]


def interface(model: Model) -> Interface:
    """Return the names, types and shapes of the graph's inputs and outputs, in order."""
    graph = model.graph
    return tuple(map(_describe, graph.inputs)), tuple(map(_describe, graph.outputs))


def keeps_interface(before: Interface, after: Interface) -> bool:
    """Say whether a caller sees no difference; more may be known of an output's dims than before."""
    (inputs, outputs), (inputs_after, outputs_after) = before, after
    return inputs == inputs_after and len(outputs) == len(outputs_after) and all(map(_refines, outputs, outputs_after))


def structural_faults(model: Model) -> list[str]:
    """Find broken single assignment, dangling uses and uses ahead of their producer. Linear time."""
    return survey(model).faults


def checker_fault(model: Model) -> str:
    """Return what the ONNX checker says against the model, or an empty string. No weight is read."""
    try:
        check(model)
    except InputError as error:
        return str(error)
    return ""


def _describe(value: Value) -> Described:
    return value.name or "", str(value.type), dims(value)


def _refines(before: Described, after: Described) -> bool:
    if before[:2] != after[:2]:
        return False
    old, new = before[2], after[2]
    if old is None or new is None:
        return old is None
    settled = (
        left == right or (not isinstance(left, int) and isinstance(right, int)) or _is_unknown(left)
        for left, right in zip(old, new, strict=False)
    )
    return len(old) == len(new) and all(settled)


def _is_unknown(dim: int | str | None) -> bool:
    """Say whether a dim has no name, or one that ONNX's shape inference invents where it knows none."""
    return dim is None or (isinstance(dim, str) and dim.startswith(MADE_UP_NAME))


def count_nodes(model: Model) -> int:
    """Count the nodes of the main graph and its subgraphs."""
    return sum(len(graph) for graph in graphs_of(model))
