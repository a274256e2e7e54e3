"""Encodings of biases when those of what they are added to have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import input_at, is_constant
from npuopt.quantization.assignment.sums import bias_encoding, widened_for_bias
from npuopt.quantization.assignment.weights import numbers

if TYPE_CHECKING:
    from npuopt.graph import Model
    from npuopt.quantization.encodings import Encoding, Encodings

DATA, WEIGHT, BIAS = 0, 1, 2
"""Inputs of Conv, ConvTranspose and Gemm, the ops that have a bias in the accumulator's scale."""


def with_bias_scales(model: Model, encodings: Encodings) -> Encodings:
    """Return the encodings with 32-bit biases held in the product of the scales that meet in their accumulator.

    Where a bias does not fit its 32 bits then, the weight's scales are widened, as they are when encodings are made.

    Args:
        model: the float model, with the biases that are to be held.
        encodings: complete, but for the scales of biases.
    """
    tensors = dict(encodings.tensors)
    uses = {output: dict(by_index) for output, by_index in encodings.uses.items()}

    def put(output: str, index: int, name: str, encoding: Encoding) -> None:
        if index in uses.get(output, {}):
            uses[output][index] = encoding
        else:
            tensors[name] = encoding

    for node in model.graph:
        data, weight, bias = (input_at(node, index) for index in (DATA, WEIGHT, BIAS))
        if data is None or weight is None or bias is None or not is_constant(bias):
            continue
        output = node.outputs[0].name or ""
        held, of_data, of_weight = (
            uses.get(output, {}).get(index) or tensors.get(value.name or "")
            for index, value in ((BIAS, bias), (DATA, data), (WEIGHT, weight))
        )
        if held is None or held.dtype != "int32" or of_data is None or of_weight is None:
            continue
        of_weight = widened_for_bias(of_weight, of_data, numbers(bias))
        put(output, WEIGHT, weight.name or "", of_weight)
        put(output, BIAS, bias.name or "", bias_encoding(of_weight, of_data, held.dtype))
    return encodings.model_copy(update={"tensors": tensors, "uses": uses})
