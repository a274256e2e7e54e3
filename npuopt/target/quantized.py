"""A node between DequantizeLinear and QuantizeLinear: are its tensors stored as a scheme says?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import input_at
from npuopt.target.views import dequantizer, describe, is_float, known_at_compile_time, quantizers, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Node, Value
    from npuopt.target.schema import OpQuantization, Scheme


class QuantizedNode:
    """The stored types of one quantized node's tensors."""

    def __init__(self, node: Node, wants: OpQuantization) -> None:
        self.wants = wants
        self.inputs: list[tuple[int, Value, Value]] = []
        self.outputs: list[tuple[int, Value, Value]] = []
        for position, value in enumerate(node.inputs):
            maker = dequantizer(value) if value is not None and is_float(value) else None
            stored = input_at(maker, 0) if maker is not None else None
            if value is not None and stored is not None:
                self.inputs.append((position, value, stored))
        for position, value in enumerate(node.outputs):
            self.outputs.extend((position, value, quantizer.outputs[0]) for quantizer in quantizers(value))

    def faults(self, name: str, scheme: Scheme) -> Iterator[str]:
        """Yield what is stored otherwise than `scheme`, called `name`, and the op's own wishes say."""
        activation = self.wants.activation.get(name, scheme.activation)
        weight = self.wants.weight or scheme.weight or activation
        for position, value, stored in self.inputs:
            constant = known_at_compile_time(value)
            if constant and position == self.wants.bias:
                wanted, role = scheme.bias or activation, "bias"
            elif constant and position in self.wants.weights:
                wanted, role = weight, "weight"
            else:
                wanted, role = self.wants.inputs.get(position, {}).get(name, activation), "activation"
            if fault := _fault(role, describe("input", position, value), stored, wanted, name):
                yield fault
        for position, value, stored in self.outputs:
            if fault := _fault("activation", describe("output", position, value), stored, activation, name):
                yield fault


def _fault(role: str, where: str, stored: Value, wanted: str, scheme: str) -> str:
    given = type_name(stored)
    return "" if given == wanted else f"{role} {where} is quantized to {given}; {scheme} takes {wanted}"
