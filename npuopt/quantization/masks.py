"""Finds what masks attention scores: large negative constants whose numbers reach nothing but a Softmax."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from npuopt.graph import DataType, constant, element_type, input_at, is_constant, is_op, label, nodes, scalar, users
from npuopt.quantization.roles import is_float

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from npuopt.graph import Model, Node, Value

MASKED_OUT = -100.0
"""Numbers below this are masks and not scores: exp(-100) is 4e-44."""

MOVERS = (
    "Cast",
    "Concat",
    "Expand",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)
"""Ops that pass mask numbers on as they are."""


@dataclass
class Masks:
    """The masks of a model.

    Attributes:
        constants: constants that hold mask numbers and only mask.
        carriers: tensors that hold mask numbers and zeros, with the least number that they can hold.
        scores: scores with a mask applied, up to the Softmax that reads them.
        refused: constants with mask numbers that reach something else than a Softmax, with what that is.
    """

    constants: list[Value] = field(default_factory=list["Value"])
    carriers: dict[Value, float] = field(default_factory=dict["Value", float])
    scores: set[Value] = field(default_factory=set["Value"])
    refused: dict[Value, str] = field(default_factory=dict["Value", str])


def find_masks(model: Model) -> Masks:
    """Find the masks of the main graph's Softmax and Attention nodes.

    Three forms are known: a constant mask that is added to the scores, a 0/1 tensor times a large negative number
    that is added, and Where between scores and a large negative number.
    """
    masks = Masks()
    for value in _constants_before_softmax(model):
        array = constant(value)
        lowest = 0.0 if array is None or not array.size else float(array.min())
        if lowest >= MASKED_OUT:
            continue
        trail = _Trail()
        reason = trail.follow(value, lowest)
        if reason:
            masks.refused[value] = reason
            continue
        masks.constants.append(value)
        masks.scores |= trail.scores
        for carrier, low in trail.carriers.items():
            masks.carriers[carrier] = min(low, masks.carriers.get(carrier, 0.0))
    _join_masks(model, masks)
    return masks


def softmaxes_behind(scores: Value) -> list[tuple[Node, Value]]:
    """List the Softmax nodes that masked scores lead to, each with the tensor that it reads."""
    found: list[tuple[Node, Value]] = []
    pending = [scores]
    while pending:
        value = pending.pop()
        for node in users(value):
            if is_op(node, "Softmax", "LogSoftmax"):
                found.append((node, value))
            elif is_op(node, "Add", "Where", *MOVERS):
                pending.append(node.outputs[0])
    return found


def _join_masks(model: Model, masks: Masks) -> None:
    """Count sums of masks among the carriers, with the sum of what their terms can hold at least."""
    lowest = {value: float(cast("np.ndarray", constant(value)).min()) for value in masks.constants}
    lowest.update(masks.carriers)
    for node in model.graph:
        output = node.outputs[0]
        inputs = [value for value in node.inputs if value is not None and is_float(value)]
        if output in masks.scores and all(value in lowest for value in inputs):
            terms = [lowest[value] for value in inputs]
            lowest[output] = masks.carriers[output] = sum(terms) if is_op(node, "Add") else min(terms)
            masks.scores.remove(output)


def _constants_before_softmax(model: Model) -> list[Value]:
    """List the float constants that masking ops lead from to a Softmax. Reads no weights."""
    pending = [node.inputs[0] for node in nodes(model, "Softmax", "LogSoftmax")]
    pending += [input_at(node, 3) for node in nodes(model, "Attention")]
    seen: dict[Value, None] = {}
    while pending:
        value = pending.pop()
        if value is None or value in seen or not is_float(value):
            continue
        seen[value] = None
        maker = value.producer()
        if maker is not None and is_op(maker, "Add", "Mul", "Where", *MOVERS):
            pending.extend(maker.inputs)
    return [value for value in seen if is_constant(value)]


@dataclass
class _Trail:
    """Where the numbers of one constant go."""

    carriers: dict[Value, float] = field(default_factory=dict["Value", float])
    scores: set[Value] = field(default_factory=set["Value"])

    def follow(self, value: Value, lowest: float) -> str:
        """Walk from a mask to the Softmax; return what else it reaches, or an empty string."""
        pending = [(value, lowest, False)]
        while pending:
            current, low, applied = pending.pop()
            if current.is_graph_output():
                return f"it reaches the graph output {current.name}"
            for use in current.uses():
                if is_op(use.node, "Softmax", "LogSoftmax") or (is_op(use.node, "Attention") and use.idx == 3):
                    continue
                step = _step(use.node, use.idx, applied=applied)
                if step is None:
                    return f"it reaches {label(use.node)} ({use.node.op_type})"
                output = use.node.outputs[0]
                if step:
                    self.scores.add(output)
                else:
                    self.carriers[output] = min(low, self.carriers.get(output, 0.0))
                pending.append((output, low, step))
        return ""


def _step(node: Node, index: int, *, applied: bool) -> bool | None:
    """Say whether the node's output is scores (True) or still a mask alone (False); None where it is neither."""
    others = [value for other, value in enumerate(node.inputs) if other != index and value is not None]
    if is_op(node, *MOVERS):
        return applied if index == 0 or is_op(node, "Concat") else None
    if is_op(node, "Add"):
        return True
    if is_op(node, "Where") and index in (1, 2):
        return applied or not all(is_constant(value) for value in others if is_float(value))
    if is_op(node, "Mul") and not applied and all(_is_zero_or_one(value) for value in others):
        return False
    return None


def _is_zero_or_one(value: Value) -> bool:
    """Say whether `value` is a 0/1 tensor by the way it is made: from truth values, or 1 minus a 0/1 mask."""
    for maker in _makers(value):
        if is_op(maker, "Cast"):
            kind = element_type(maker.inputs[0])
            return kind is not None and (kind == DataType.BOOL or not kind.is_floating_point())
        if is_op(maker, "Sub"):
            second = maker.inputs[1]
            return scalar(maker.inputs[0]) == 1.0 and second is not None and _is_zero_or_one(second)
    return False


def _makers(value: Value) -> Iterator[Node]:
    """Yield what makes `value`, looking through ops that only move numbers."""
    maker = value.producer()
    while maker is not None:
        yield maker
        if is_op(maker, "Cast") or not is_op(maker, *MOVERS) or maker.inputs[0] is None:
            return
        maker = maker.inputs[0].producer()
