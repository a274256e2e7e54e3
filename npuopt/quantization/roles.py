"""What each input of a node is to quantization, and along which axis its weights have channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from npuopt.graph import attribute, element_type, input_at, is_constant, is_op, static_shape
from npuopt.target.channels import channel_axis

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.target.schema import OpQuantization

Role: TypeAlias = Literal["activation", "weight", "bias"]

PARAMETERS: dict[str, frozenset[int]] = {
    "Clip": frozenset({1, 2}),
    "Dropout": frozenset({1}),
    "Pad": frozenset({2}),
    "Resize": frozenset({1, 2}),
}
"""Float inputs that set up an op and are no data: bounds, factors, fill values. They stay float."""


def is_float(value: Value | None) -> bool:
    """Say whether `value` holds floats."""
    kind = element_type(value)
    return kind is not None and kind.is_floating_point()


def float_values(model: Model) -> list[Value]:
    """List the float tensors of the main graph that are no constants: graph inputs, then node outputs in order."""
    made = [output for node in model.graph for output in node.outputs if output.name]
    return [
        value
        for value in (*model.graph.inputs, *made)
        if not is_constant(value) and (kind := element_type(value)) is not None and kind.is_floating_point()
    ]


def is_parameter(node: Node, index: int) -> bool:
    """Say whether the input sets up the op and is no data."""
    return is_op(node, *PARAMETERS) and index in PARAMETERS[node.op_type]


def data_inputs(node: Node) -> list[tuple[int, Value]]:
    """List the float inputs that are data, with their indexes."""
    return [
        (index, value)
        for index, value in enumerate(node.inputs)
        if value is not None and is_float(value) and not is_parameter(node, index)
    ]


def role(node: Node, index: int, wants: OpQuantization) -> Role:
    """Say what the float input at `index` is. Weights and biases that are computed at run time are activations."""
    if not is_constant(input_at(node, index)):
        return "activation"
    if index in wants.weights:
        return "weight"
    if index == wants.bias and _fits_channels(node, index, wants):
        return "bias"
    return "activation"


def feature_axis(node: Node) -> int | None:
    """Return the axis of input 0 along which a convolution with constant weights has its input channels, else None."""
    return 1 if is_op(node, "Conv") and is_constant(input_at(node, 1)) and not is_constant(input_at(node, 0)) else None


def is_depthwise(node: Node) -> bool:
    """Say whether each output channel is computed from one input channel alone."""
    shape = static_shape(input_at(node, 1))
    return is_op(node, "Conv") and shape is not None and shape[1] == 1 < attribute(node, "group", 1)


def _fits_channels(node: Node, index: int, wants: OpQuantization) -> bool:
    """Say whether the bias has one number for each channel of the weight (or there are no channels to speak of)."""
    bias, weight_index = input_at(node, index), next(iter(wants.weights), None)
    if weight_index is None:
        return False
    weight = input_at(node, weight_index)
    axis, bias_shape, weight_shape = channel_axis(node, weight_index), static_shape(bias), static_shape(weight)
    if bias_shape is None or weight_shape is None:
        return False
    if axis is None:
        return len(bias_shape) == 1
    return bias_shape == (weight_shape[axis],)
