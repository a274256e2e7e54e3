"""The encoding of a constant at one use: what it is there decides, not what it is elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from npuopt.graph import input_at, is_constant, release_mapped
from npuopt.quantization.assignment.corrections import mean_error
from npuopt.quantization.assignment.sums import bias_encoding, rounded_for_factor, widened_for_bias, widened_for_factor
from npuopt.quantization.assignment.weights import WeightFormat, constant_encoding, numbers, weight_encoding
from npuopt.quantization.roles import channel_axis

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np

    from npuopt.graph import Node, Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.assignment.activations import ActivationPlan
    from npuopt.quantization.assignment.wishes import Wishes
    from npuopt.quantization.encodings import Encoding
    from npuopt.quantization.ranges import Ranges
    from npuopt.quantization.roles import Role

    Fitted = tuple[Value, WeightFormat, int | None]


def type_of_constant(wish: Wishes, index: int, role: Role) -> IntegerType:
    """Return the type of a constant that has a scale of its own: an operand like an activation, or a narrow bias."""
    narrow = wish.scheme.bias if role == "bias" else None
    return wish.operand(index) if narrow is None else cast("IntegerType", narrow)


class ConstantPlan:
    """Encodings of constants, given those of the activations they meet.

    Args:
        activations: their encodings.
        ranges: with the means of what meets weights.
        wide: first outputs of the nodes that get 16-bit weights where the target has them.
        fitted: encodings of weights by themselves that are known from an earlier plan for the same model; what is
            found is added.
    """

    def __init__(
        self,
        activations: ActivationPlan,
        ranges: Ranges,
        wide: Collection[str] = (),
        fitted: dict[Fitted, Encoding] | None = None,
    ) -> None:
        self._activations = activations
        self._ranges = ranges
        self._wide = wide
        self._fitted = {} if fitted is None else fitted
        self._weights: dict[tuple[Node, int], Encoding] = {}

    def at(self, wish: Wishes, index: int, value: Value, role: Role) -> Encoding:
        """Return the encoding in which a node reads the constant at `index`."""
        if role == "weight":
            return self._weight(wish, index, value)
        if role == "bias" and wish.scheme.accumulates_bias:
            weight = self._read(wish, wish.rule.weights[0])
            return bias_encoding(weight, self._read(wish, 0), cast("IntegerType", wish.scheme.bias))
        if wish.node in self._activations.movers:
            return self._activations.carried(wish.node)
        return constant_encoding(numbers(value), type_of_constant(wish, index, role), wish.scheme)

    def correction(self, wish: Wishes, role: Role) -> np.ndarray | None:
        """Return what to add to a bias to make up for the rounding of the weights beside it, one number an element."""
        if role != "bias":
            return None
        index = wish.rule.weights[0]
        weight = input_at(wish.node, index)
        if weight is None or not is_constant(weight):
            return None
        error = mean_error(wish.node, numbers(weight), self._weight(wish, index, weight), self._ranges)
        return None if error is None else -error

    def _weight(self, wish: Wishes, index: int, value: Value) -> Encoding:
        known = self._weights.get((wish.node, index))
        if known is not None:
            return known
        held = WeightFormat.of(wish, wide=wish.node.outputs[0].name in self._wide)
        fitted = value, held, channel_axis(wish.node, index)
        if fitted not in self._fitted:
            self._fitted[fitted] = weight_encoding(numbers(value), held, fitted[2])
        encoding = self._fitted[fitted]
        bias = None if wish.rule.bias is None else input_at(wish.node, wish.rule.bias)
        if bias is not None and is_constant(bias) and wish.scheme.accumulates_bias:
            shifts = wish.scheme.power_of_two
            encoding = widened_for_bias(encoding, self._read(wish, 0), numbers(bias), shifts=shifts)
        encoding = self._with_factor(encoding, wish)
        release_mapped([value])  # so that a large model's weights are not all in memory at the end
        self._weights[wish.node, index] = encoding
        return encoding

    def _with_factor(self, encoding: Encoding, wish: Wishes) -> Encoding:
        """Return the encoding of weights with scales for which the target can bring sums to the output's integers."""
        scheme, output = wish.scheme, self._activations.tensors.get(wish.node.outputs[0].name or "")
        if output is None or (scheme.least_factor is None and scheme.factor_bits is None):
            return encoding
        shifts, data = scheme.power_of_two, self._read(wish, 0)
        if scheme.least_factor is not None:
            encoding = widened_for_factor(encoding, data, output, scheme.least_factor, shifts=shifts)
        if scheme.factor_bits is not None and not shifts:
            encoding = rounded_for_factor(encoding, data, output, scheme.factor_bits)
        return encoding

    def _read(self, wish: Wishes, wanted: int) -> Encoding:
        """Return the encoding in which a node reads its float input, constant or not."""
        index, value, role = next(item for item in wish.inputs() if item[0] == wanted)
        return self.at(wish, index, value, role) if is_constant(value) else self._activations.at(wish, index, value)
