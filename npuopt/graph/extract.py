"""Cuts out the part of a model that lies between two sets of tensors."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from npuopt.errors import UsageError
from npuopt.graph.inference import infer_shapes
from npuopt.graph.queries import is_constant
from npuopt.graph.regions import cut_nodes, values_read

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir


def extract(model: ir.Model, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> ir.Model:
    """Return the part of the main graph that computes `outputs` from `inputs`, as a model of its own.

    Weights are shared with `model`, not copied. Tensors at the cut get the types and shapes that inference finds.

    Args:
        model: the source; types and shapes are filled in where they are not known yet.
        inputs: names of tensors to cut at; all graph inputs that are needed when empty.
        outputs: names of tensors to compute; all graph outputs when empty.

    Raises:
        UsageError: for a name that does not exist, for outputs that need more than the inputs give, and for an
            input that no output needs.
    """
    values = _values_by_name(model)
    ends = [_find(values, name) for name in outputs] or list(model.graph.outputs)
    starts = [_find(values, name) for name in inputs]
    nodes, reached = _between(model, set(starts), ends)
    missing = [value for value in reached if value not in starts]
    if inputs and missing:
        names = ", ".join(repr(value.name) for value in missing)
        raise UsageError(f"the outputs also need the input {names}", hint="add it to the inputs or cut further up")
    for value in starts:
        if value not in reached:
            raise UsageError(f"no output needs the tensor {value.name!r}", hint="leave it out of the inputs")
    if any(value.type is None for value in (*starts, *ends)):
        infer_shapes(model)
    taken = starts or [value for value in model.graph.inputs if value in reached]
    return cut_nodes(model, nodes, taken, ends, name=f"{model.graph.name or 'graph'}_part")


def _values_by_name(model: ir.Model) -> dict[str, ir.Value]:
    graph = model.graph
    made = (output for node in graph for output in node.outputs)
    return {value.name: value for value in (*graph.inputs, *graph.initializers.values(), *made) if value.name}


def _find(values: dict[str, ir.Value], name: str) -> ir.Value:
    if name not in values:
        close = get_close_matches(name, values, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else ""
        raise UsageError(f"there is no tensor called {name!r} in the main graph", hint=hint)
    return values[name]


def _between(model: ir.Model, starts: set[ir.Value], ends: Sequence[ir.Value]) -> tuple[list[ir.Node], list[ir.Value]]:
    """Return the nodes that make `ends`, in graph order, and the starts and graph inputs that they lead back to."""
    needed: set[ir.Node] = set()
    reached: dict[ir.Value, None] = {}
    pending = list(ends)
    while pending:
        value = pending.pop()
        maker = value.producer()
        if value in starts or value.is_graph_input():
            reached[value] = None
        elif maker is not None and maker not in needed:
            needed.add(maker)
            pending.extend(item for item in values_read(maker) if not is_constant(item))
    return [node for node in model.graph if node in needed], list(reached)
