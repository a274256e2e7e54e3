"""The constants of a quantized model as a target's nodes read them: the integers they came with, where they fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from npuopt.graph import input_at, is_constant, origins
from npuopt.quantization.arithmetic import dequantize, limits
from npuopt.quantization.assignment.constants import type_of_constant
from npuopt.quantization.assignment.sums import bias_encoding
from npuopt.quantization.assignment.weights import WeightFormat, constant_encoding, numbers, weight_encoding
from npuopt.quantization.incoming.grids import grid_of
from npuopt.quantization.incoming.spreading import own_encoding, recast, recast_integers
from npuopt.quantization.roles import channel_axis

if TYPE_CHECKING:
    from npuopt.graph import Node, Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.assignment.wishes import Wishes
    from npuopt.quantization.encodings import Encoding
    from npuopt.quantization.incoming.quantized_model import Incoming
    from npuopt.quantization.roles import Role

Operand: TypeAlias = "Callable[[Wishes, int, Value], Encoding]"
"""How a node reads an activation."""

SAME_SCALE = 1e-4
"""Relative difference of two scales up to which the same integers stand for the same bias."""


class HeldConstants:
    """Finds how each constant is held.

    Args:
        incoming: what the model came with.

    Attributes:
        integers: constants that keep the integers they came with, by name.
    """

    def __init__(self, incoming: Incoming) -> None:
        self.integers: dict[str, np.ndarray] = {}
        self._incoming = incoming
        self._weights: dict[tuple[Node, int], Encoding | None] = {}

    def refusal(self, wish: Wishes, operand: Operand) -> str:
        """Say why a node's constants cannot be held as it wants them, or return an empty string."""
        for index, value, kind in wish.inputs():
            if not is_constant(value):
                continue
            if kind == "weight" and self._weight(wish, index, value) is None:
                return f"weight {value.name} does not lie on steps that {wish.scheme_name} has for it"
            if kind == "bias" and wish.scheme.accumulates_bias:
                weight = input_at(wish.node, wish.rule.weights[0])
                if weight is None or not is_constant(weight):
                    return f"the weight beside bias {value.name} is computed at run time"
                held = self._bias(wish, operand)
                peak = np.abs(numbers(value) / np.asarray(held.scale)).max(initial=0.0)
                if peak > limits(held.dtype)[1]:
                    return f"bias {value.name} does not fit {held.dtype} in steps of its product"
        return ""

    def at(self, wish: Wishes, index: int, value: Value, kind: Role, operand: Operand) -> Encoding:
        """Return the encoding in which a node reads the constant at `index`; the node was not refused."""
        if kind == "weight":
            found = cast("Encoding", self._weight(wish, index, value))
        elif kind == "bias" and wish.scheme.accumulates_bias:
            found = self._bias(wish, operand)
        elif wish.moves:
            found = operand(wish, index, value)
        else:
            own = own_encoding(value, self._incoming)
            dtype = type_of_constant(wish, index, kind)
            own = None if own is None or own.axis is not None else recast(own, dtype)
            found = own or constant_encoding(numbers(value), dtype, wish.scheme)
        self._keep_integers(value, found)
        return found

    def _weight(self, wish: Wishes, index: int, value: Value) -> Encoding | None:
        """Return the encoding of a weight, as it came or found from its numbers, or None where neither fits."""
        if (wish.node, index) not in self._weights:
            held = self._given(wish, index, value) or self._found(wish, index, value)
            if held is None and self._incoming.of_floats:  # nothing says otherwise than the weight's own range
                held = weight_encoding(numbers(value), WeightFormat.of(wish), channel_axis(wish.node, index))
            self._weights[wish.node, index] = held
        return self._weights[wish.node, index]

    def _given(self, wish: Wishes, index: int, value: Value) -> Encoding | None:
        own = own_encoding(value, self._incoming)
        for dtype in _weight_types(wish):
            held = None if own is None else recast(own, dtype)
            if held is not None and _is_taken(held, wish, index):
                return held
        return None

    def _found(self, wish: Wishes, index: int, value: Value) -> Encoding | None:
        by_channel = (wish.rule.weight_axis or wish.scheme.weight_axis) == "channel"
        axis = channel_axis(wish.node, index) if by_channel else None
        for dtype in _weight_types(wish):
            held = grid_of(numbers(value), dtype, axis)
            if held is not None:
                return held
        return None

    def _bias(self, wish: Wishes, operand: Operand) -> Encoding:
        """Return the product of the scales that meet in a bias."""
        index = wish.rule.weights[0]
        weight = cast("Encoding", self._weight(wish, index, cast("Value", input_at(wish.node, index))))
        data = operand(wish, 0, cast("Value", input_at(wish.node, 0)))
        return bias_encoding(weight, data, cast("IntegerType", wish.scheme.bias))

    def _keep_integers(self, value: Value, held: Encoding) -> None:
        """Note the integers that a constant came with, where they stand for the same numbers still."""
        name = next(
            (name for name, factor in origins(value) if factor == 1.0 and name in self._incoming.integers), None
        )
        if name is None:
            return
        before, integers = self._incoming.tensors[name], self._incoming.integers[name]
        if before.axis != held.axis and before.scale != held.scale:
            return
        if not np.allclose(before.scale, held.scale, rtol=SAME_SCALE, atol=0.0):
            return
        moved = recast(before, held.dtype)
        if moved is None or moved.zero_point != held.zero_point:
            return
        if integers.shape == numbers(value).shape and np.array_equal(dequantize(integers, before), numbers(value)):
            self.integers[value.name or ""] = recast_integers(integers, before, held)


def _weight_types(wish: Wishes) -> list[IntegerType]:
    """List the types in which the target takes the node's weights, the usual one first."""
    usual = wish.rule.weight or wish.scheme.weight or wish.scheme.activation
    others = wish.rule.weight_types.get(wish.scheme_name, ())
    return [cast("IntegerType", name) for name in dict.fromkeys((usual, *others))]


def _is_taken(held: Encoding, wish: Wishes, index: int) -> bool:
    """Say whether a weight's axis and zero points are what the target takes."""
    wanted = wish.rule.weight_axis or wish.scheme.weight_axis
    symmetric = wish.scheme.weight_symmetric if wish.rule.weight_symmetric is None else wish.rule.weight_symmetric
    if held.axis is not None and (wanted == "tensor" or held.axis != channel_axis(wish.node, index)):
        return False
    return not symmetric or limits(held.dtype)[0] == 0 or not any(held.zero_point)
