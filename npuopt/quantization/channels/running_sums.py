"""Running sums: tensors along which the layers of a transformer add up, read through normalizations.

Normalizations do not see a factor of the whole sum, `N(x, e) = N(x / f, e / f^2)`, with e their epsilon. Found by
structure: from what a normalization reads to everything that additions tie to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, input_at, is_constant, is_op, label, rank, static_shape
from npuopt.quantization.channels.joint import NORMALIZATIONS

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value

LEAST_SUMS = 2
"""Additions; one alone is no sum that runs."""


@dataclass
class RunningSum:
    """Tensors that additions tie to one another.

    Attributes:
        name: of the first of them that a normalization reads.
        values: all of them, terms included.
        terms: those that something other than an addition makes.
        sums: the additions.
        norms: the normalizations that read them.
        why: what else has to do with them, which would see a factor; empty when nothing does.
    """

    name: str
    values: list[Value] = field(default_factory=list["Value"])
    terms: list[Value] = field(default_factory=list["Value"])
    sums: list[Node] = field(default_factory=list["Node"])
    norms: list[Node] = field(default_factory=list["Node"])
    why: str = ""

    @property
    def normalized_terms(self) -> list[Node]:
        """List the normalizations that make terms."""
        makers = [value.producer() for value in self.terms]
        return [maker for maker in makers if maker is not None and is_normalization(maker)]


def running_sums(model: Model) -> list[RunningSum]:
    """List the running sums of the main graph, in graph order."""
    found: list[RunningSum] = []
    seen: set[Value] = set()
    for node in model.graph:
        start = input_at(node, 0)
        if start is None or start in seen or not is_normalization(node) or not static_shape(start):
            continue
        running = RunningSum(start.name or "")
        _follow(running, start, model)
        seen.update(running.values)
        if len(running.sums) >= LEAST_SUMS:
            found.append(running)
    return found


def is_normalization(node: Node) -> bool:
    """Say whether it normalizes the last axis, with constant parameters."""
    size = rank(input_at(node, 0))
    if not is_op(node, *NORMALIZATIONS) or len(node.outputs) != 1 or size is None:
        return False
    constants = all(value is None or is_constant(value) for value in list(node.inputs)[1:])
    return constants and attribute(node, "axis", -1) in (-1, size - 1)


def greatest(running: RunningSum) -> float:
    """Return the greatest number that the normalizations among the terms can add up to.

    A normalized vector of n numbers has a length of the square root of n, and so no greater number.
    """
    total = np.zeros(1)
    for node in running.normalized_terms:
        scale, bias = (constant(input_at(node, index)) for index in (1, 2))
        size = (static_shape(node.outputs[0]) or (1,))[-1]
        total = total + (0 if scale is None else np.abs(scale.astype(np.float64)) * np.sqrt(size))
        total = total + (0 if bias is None else np.abs(bias.astype(np.float64)))
    return float(total.max())


def _follow(running: RunningSum, start: Value, model: Model) -> None:
    """Walk over additions, both ways, until nothing new is found."""
    pending = [start]
    known: set[Value] = set()  # beside the list: a deep model has thousands of them
    while pending:
        value = pending.pop()
        if value in known:
            continue
        known.add(value)
        running.values.append(value)
        if value.is_graph_output():
            running.why = running.why or f"{value.name} is a graph output"
        maker = value.producer()
        if maker is not None and _adds(maker):
            pending += [term for term in maker.inputs if term is not None]
            running.sums.append(maker)  # once, as it makes this one value
        else:
            running.terms.append(value)
        for use in value.uses():
            if _adds(use.node) and use.node.graph is model.graph:
                pending.append(use.node.outputs[0])
            elif use.idx == 0 and is_normalization(use.node) and use.node.graph is model.graph:
                running.norms.append(use.node)
            else:
                running.why = running.why or f"{label(use.node)} ({use.node.op_type}) reads {value.name}"


def _adds(node: Node) -> bool:
    """Say whether it adds two tensors of one shape that are made at run time."""
    shapes = [static_shape(value) for value in node.inputs]
    at_run_time = not any(is_constant(value) for value in node.inputs)
    return is_op(node, "Add") and at_run_time and shapes[0] is not None and shapes[0] == shapes[1]
