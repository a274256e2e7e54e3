"""Encodings of a scheme of 8-bit floats: what products and convolutions read; their results stay float."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import is_constant, release_mapped
from npuopt.quantization.arithmetic import affine
from npuopt.quantization.assignment.weights import WeightFormat, numbers, weight_encoding
from npuopt.quantization.encodings import Encodings, per_tensor
from npuopt.quantization.roles import channel_axis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.graph import Node, Value
    from npuopt.quantization.assignment.wishes import Wishes
    from npuopt.quantization.encodings import Encoding
    from npuopt.quantization.ranges import Ranges

Operand = tuple["Node", int, "Value", "Encoding"]


def float8_encodings(wishes: Mapping[Node, Wishes], ranges: Ranges) -> Encodings:
    """Choose an encoding for each operand of the nodes that compute in 8-bit floats.

    A scale is the greatest magnitude over the type's greatest number (448 for E4M3, 57344 for E5M2): one for an
    activation, one for each channel of a weight. There are no zero points. Biases and results stay float, as sums are
    made in float32, and what other nodes read of an operand stays float, too.

    Args:
        wishes: the nodes, with what their ops want.
        ranges: what calibration saw.

    Returns:
        Encodings without names of target and scheme.
    """
    operands = [operand for wish in wishes.values() for operand in _operands(wish, ranges)]
    read = {(node, index): encoding for node, index, _, encoding in operands}
    tensors: dict[str, Encoding] = {}
    uses: dict[str, dict[int, Encoding]] = {}
    for node, index, value, encoding in operands:
        name = value.name or ""
        everywhere = not value.is_graph_output() and all((use.node, use.idx) in read for use in value.uses())
        if (is_constant(value) or everywhere) and tensors.setdefault(name, encoding) == encoding:
            continue
        uses.setdefault(node.outputs[0].name or "", {})[index] = encoding
    return Encodings(tensors=tensors, uses=uses)


def _operands(wish: Wishes, ranges: Ranges) -> list[Operand]:
    found: list[Operand] = []
    for index, value, role in wish.inputs():
        if role == "bias" or index == wish.rule.bias:
            continue
        if is_constant(value):
            array = numbers(value)
            if role == "weight":
                encoding = weight_encoding(array, WeightFormat.of(wish), channel_axis(wish.node, index))
            else:
                encoding = _covering(float(np.abs(array).max(initial=0.0)), wish, index)
            release_mapped([value])
        else:
            seen = ranges.of(value.name or "")
            encoding = _covering(max(-seen.low, seen.high), wish, index)
        found.append((wish.node, index, value, encoding))
    return found


def _covering(largest: float, wish: Wishes, index: int) -> Encoding:
    dtype = wish.operand(index)
    return per_tensor(dtype, *affine(-largest, largest, dtype, symmetric=True))
