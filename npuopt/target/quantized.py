"""A node between DequantizeLinear and QuantizeLinear: are its tensors stored as a scheme and the op's rule say?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from npuopt.graph import attribute, constant, input_at, is_constant, rank
from npuopt.target.channels import channel_axis
from npuopt.target.views import dequantizer, describe, is_float, known_at_compile_time, quantizers, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Node, Value
    from npuopt.target.schema import OpQuantization, Scheme

Role = Literal["activation", "weight", "bias"]

HALF = 0.5
"""The mantissa of every power of two."""

SCALE_TOLERANCE = 1e-5
"""Relative difference up to which a float32 scale is the one that a descriptor writes in decimals."""


@dataclass(frozen=True)
class Stored:
    """One tensor of a quantized node.

    Attributes:
        where: its description.
        position: its index among the inputs or outputs.
        role: what it is to the node.
        value: the integer tensor.
        converter: the QuantizeLinear or DequantizeLinear that holds its scale and zero point.
    """

    where: str
    position: int
    role: Role
    value: Value
    converter: Node

    @property
    def scale(self) -> np.ndarray | None:
        """The scale or scales, when constant."""
        return constant(input_at(self.converter, 1))

    @property
    def zero_point(self) -> np.ndarray | None:
        """The zero points, 0 where left out, or None when not constant."""
        value = input_at(self.converter, 2)
        return np.zeros((), np.int32) if value is None else constant(value)

    def has_encoding_of(self, other: Stored) -> bool:
        """Say whether both have the same scale and zero point."""
        mine, theirs = self.converter.inputs[1:3], other.converter.inputs[1:3]
        if len(mine) == len(theirs) and all(one is two for one, two in zip(mine, theirs, strict=True)):
            return True
        pairs = ((self.scale, other.scale), (self.zero_point, other.zero_point))
        return all(one is not None and two is not None and np.array_equal(one, two) for one, two in pairs)


class QuantizedNode:
    """How one quantized node's tensors are stored."""

    def __init__(self, node: Node, wants: OpQuantization) -> None:
        self.node = node
        self.wants = wants
        self.inputs = list(self._stored_inputs())
        self.outputs = [
            Stored(describe("output", position, value), position, "activation", quantizer.outputs[0], quantizer)
            for position, value in enumerate(node.outputs)
            for quantizer in quantizers(value)
        ]

    def faults(self, name: str, scheme: Scheme) -> Iterator[str]:
        """Yield what is stored otherwise than `scheme`, called `name`, and the op's own wishes say."""
        for one in (*self.inputs, *self.outputs):
            given, wanted = type_name(one.value), self._types(one, name, scheme)
            if given not in wanted:
                yield f"{one.role} {one.where} is quantized to {given}; {name} takes {' or '.join(wanted)}"
            elif one.role == "weight":
                yield from self._weight_faults(one, scheme)
            if scheme.power_of_two and one.scale is not None and np.any(np.frexp(one.scale)[0] != HALF):
                yield f"{one.where} has a scale that is no power of two; {name} takes powers of two"
        yield from self._left_in_float()
        yield from self._output_faults(name)
        if self.wants.share:
            yield from self._share_faults()

    def _stored_inputs(self) -> Iterator[Stored]:
        for position, value in enumerate(self.node.inputs):
            maker = dequantizer(value) if value is not None and is_float(value) else None
            stored = input_at(maker, 0) if maker is not None else None
            if value is not None and maker is not None and stored is not None:
                yield Stored(describe("input", position, value), position, self._role(position, value), stored, maker)

    def _left_in_float(self) -> Iterator[str]:
        bias = () if self.wants.bias is None else (self.wants.bias,)
        for position in (*self.wants.weights, *bias):
            value = input_at(self.node, position)
            if value is not None and is_constant(value) and is_float(value):
                yield f"{describe('input', position, value)} is a constant left in float beside quantized tensors"

    def _role(self, position: int, value: Value) -> Role:
        if not known_at_compile_time(value):
            return "activation"
        if position == self.wants.bias:
            return "bias"
        return "weight" if position in self.wants.weights else "activation"

    def _types(self, one: Stored, name: str, scheme: Scheme) -> tuple[str, ...]:
        """Return the element types that the tensor may have."""
        activation = self.wants.activation.get(name, scheme.activation)
        if one.role == "bias":
            return (scheme.bias or activation,)
        if one.role == "weight":
            return (self.wants.weight or scheme.weight or activation, *self.wants.weight_types.get(name, ()))
        is_input = one in self.inputs
        return (self.wants.inputs.get(one.position, {}).get(name, activation) if is_input else activation,)

    def _weight_faults(self, one: Stored, scheme: Scheme) -> Iterator[str]:
        """Yield what is wrong with a weight's scales and zero points."""
        scale, zero_point = one.scale, one.zero_point
        per_tensor = scale is not None and scale.size == 1
        wanted = self.wants.weight_axis or scheme.weight_axis
        if not per_tensor and wanted == "tensor":
            yield f"{one.where} has several scales; one scale for the tensor is taken"
        elif not per_tensor and wanted == "channel":
            axis, depth = attribute(one.converter, "axis", 1), rank(one.value) or 0
            expected = channel_axis(self.node, one.position)
            given = axis + depth if axis < 0 else axis
            if expected is None:
                yield f"{one.where} has several scales, but no axis of output channels; one scale for it is taken"
            elif given != expected:
                yield f"{one.where} has a scale for each index of axis {given}; its channels are axis {expected}"
        symmetric = scheme.weight_symmetric if self.wants.weight_symmetric is None else self.wants.weight_symmetric
        signed = (type_name(one.value) or "").startswith("int")
        if symmetric and signed and (zero_point is None or np.any(zero_point.astype(np.int32))):
            yield f"{one.where} has a zero point other than 0; symmetric weights are taken"

    def _output_faults(self, name: str) -> Iterator[str]:
        fixed = self.wants.output.get(name)
        if fixed is None:
            return
        for one in self.outputs:
            scale, zero_point = one.scale, one.zero_point
            if scale is None or zero_point is None or scale.size != 1 or zero_point.size != 1:
                yield f"the encoding of {one.where} is not one constant scale and zero point"
            elif (
                abs(float(scale.item()) / fixed.scale - 1) > SCALE_TOLERANCE
                or int(zero_point.item()) != fixed.zero_point
            ):
                given = f"scale {float(scale.item()):g}, zero point {int(zero_point.item())}"
                wanted = f"scale {fixed.scale:g}, zero point {fixed.zero_point}"
                yield f"the encoding of {one.where} is {given}; only {wanted} is taken in {name}"

    def _share_faults(self) -> Iterator[str]:
        tensors = [one for one in (*self.inputs, *self.outputs) if one.role == "activation"]
        for one in tensors[1:]:
            if not one.has_encoding_of(tensors[0]):
                yield f"{one.where} has another encoding than {tensors[0].where}; one for all is taken"
