from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute_list, constant, input_at, is_constant, is_op, only_user, producer, rank, static_shape
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target

# fmt: off
ELEMENTWISE = (
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater",
    "HardSigmoid", "HardSwish", "LeakyRelu", "Less", "Log", "Max", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or",
    "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Sub",
    "Swish", "Tanh", "Where", "Xor",
)
# fmt: on
"""Ops that compute each element from those at the same place, whatever the order of the axes."""


@dataclass(frozen=True)
class MoveTransposes(NodePass):
    """A Transpose ahead of an elementwise op moves behind it, where that brings it to another one.

    `Transpose(Relu(Transpose(x))) -> Transpose(Transpose(Relu(x)))`, for fuse-consecutive-transposes to end, and
    `Add(Transpose(x), Transpose(z)) -> Transpose(Add(x, z))`; constants are transposed back at once.

    Left alone: a Transpose that meets no other one further down; inputs that come in different orders or in none; a
    Transpose that is read elsewhere; a constant that raises the rank.
    """

    name = "move-transposes"
    op_types = ELEMENTWISE
    repeat = True
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Move the Transposes that make the inputs of `node` behind it."""
        turned = _turned_inputs(node)
        if not turned:
            return None
        order = _order(turned[0])
        if order is None or any(_order(other) != order for other in turned):
            return Declined("its inputs come in different orders")
        if len(turned) == 1 and not _meets_another(node.outputs[0], node):
            return None
        sources = [_source(value, node, order) for value in node.inputs]
        refused = next((item for item in sources if isinstance(item, Declined)), None)
        if refused is not None:
            return refused
        inputs = [
            edit.constant(item, near=node) if isinstance(item, np.ndarray) else item
            for item in sources
            if not isinstance(item, Declined)
        ]
        result = edit.emit(node.op_type, inputs, node.attributes, before=node, name=node.name or "")
        edit.replace(node.outputs[0], edit.emit("Transpose", [result], {"perm": order}, before=node))
        edit.erase_unread(node)
        return Changed(f"moved {len(turned)} Transpose{'s' * (len(turned) > 1)} to {order} behind it")


def _turned_inputs(node: Node) -> list[Node]:
    """Return the different Transposes that make inputs of `node`."""
    made = [producer(value, "Transpose") for value in node.inputs]
    return list(dict.fromkeys(item for item in made if item is not None))


def _order(node: Node) -> list[int] | None:
    depth = rank(node.outputs[0])
    return attribute_list(node, "perm") or (None if depth is None else list(reversed(range(depth))))


def _meets_another(value: Value, maker: Node) -> bool:
    """Say whether `value`, alone or through further elementwise ops, is brought to another Transpose."""
    node = only_user(value)
    while node is not None and node.graph is maker.graph:
        if is_op(node, "Transpose"):
            return True
        if not is_op(node, *ELEMENTWISE):
            return False
        others = [item for item in node.inputs if item is not None and item is not value and not is_constant(item)]
        if others:
            return all(producer(item, "Transpose") is not None for item in others)
        value = node.outputs[0]
        node = only_user(value)
    return False


def _source(value: Value | None, node: Node, order: list[int]) -> Value | np.ndarray | Declined | None:
    """Return what `node` reads once the order of its axes is that ahead of the Transposes."""
    if value is None:
        return None
    turned = producer(value, "Transpose")
    if turned is not None:
        if only_user(value) is not node or turned.graph is not node.graph:
            return Declined(f"{value.name!r} is read elsewhere or is a graph output")
        return input_at(turned, 0)
    shape = static_shape(value)
    if not is_constant(value) or shape is None or len(shape) > len(order):
        return Declined(f"{value.name!r} is neither transposed nor a constant of its rank")
    known = None if shape == () else constant(value)
    if known is None:
        return value
    aligned = known.reshape([1] * (len(order) - known.ndim) + list(known.shape))
    return value if known.size == 1 else aligned.transpose(np.argsort(order))
