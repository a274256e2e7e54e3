"""Ops that compute each element from the elements at its place."""

from __future__ import annotations

import operator
from functools import reduce
from typing import TYPE_CHECKING

from npuopt.graph import attribute
from npuopt.tuning.operators.inputs import filled_up
from npuopt.tuning.torch_api import functional, torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from npuopt.graph import Node
    from npuopt.tuning.torch_api import Tensor

    Operator = Callable[[Node, Sequence[Tensor]], Tensor]


def _of_one(compute: Callable[[Tensor], Tensor]) -> Operator:
    return lambda node, inputs: compute(inputs[0])


def _of_two(compute: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda node, inputs: compute(inputs[0], inputs[1])


def _of_many(compute: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda node, inputs: reduce(compute, inputs)


def _divide(left: Tensor, right: Tensor) -> Tensor:
    """Divide; integers as C does, towards zero."""
    return left / right if left.dtype.is_floating_point else torch.div(left, right, rounding_mode="trunc")


def _power(base: Tensor, exponent: Tensor) -> Tensor:
    """Raise to a power, in the base's type. Squares keep the gradient at zero that the general form has as NaN."""
    if exponent.numel() == 1 and exponent.item() == 2:
        return base * base
    return torch.pow(base, exponent).to(base.dtype)


def _clip(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    del node
    data, low, high = filled_up(inputs, 3)
    return data if low is None and high is None else torch.clamp(data, low, high)


def _gelu(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return functional.gelu(inputs[0], approximate=attribute(node, "approximate", "none"))


def _hard_sigmoid(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    slope, offset = attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5)
    return torch.clamp(slope * inputs[0] + offset, 0.0, 1.0)


def _hard_swish(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    del node
    return inputs[0] * torch.clamp(inputs[0] / 6 + 0.5, 0.0, 1.0)


def _leaky_relu(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return functional.leaky_relu(inputs[0], attribute(node, "alpha", 0.01))


def _elu(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return functional.elu(inputs[0], attribute(node, "alpha", 1.0))


def _prelu(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    del node
    data, slope = inputs[0], inputs[1]
    return torch.where(data < 0, data * slope, data)


def _selu(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    alpha = attribute(node, "alpha", 1.67326319217681884765625)
    gamma = attribute(node, "gamma", 1.05070102214813232421875)
    return gamma * functional.elu(inputs[0], alpha)


def _swish(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0] * torch.sigmoid(attribute(node, "alpha", 1.0) * inputs[0])


def _mean(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    del node
    return reduce(operator.add, inputs) / len(inputs)


def _where(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    del node
    return torch.where(inputs[0], inputs[1], inputs[2])


ELEMENTWISE: dict[str, Operator] = {
    "Abs": _of_one(torch.abs),
    "Add": _of_two(operator.add),
    "And": _of_two(torch.logical_and),
    "Ceil": _of_one(torch.ceil),
    "Clip": _clip,
    "Cos": _of_one(torch.cos),
    "Div": _of_two(_divide),
    "Elu": _elu,
    "Equal": _of_two(torch.eq),
    "Erf": _of_one(torch.erf),
    "Exp": _of_one(torch.exp),
    "Floor": _of_one(torch.floor),
    "Gelu": _gelu,
    "Greater": _of_two(torch.gt),
    "GreaterOrEqual": _of_two(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _of_one(lambda data: data),
    "LeakyRelu": _leaky_relu,
    "Less": _of_two(torch.lt),
    "LessOrEqual": _of_two(torch.le),
    "Log": _of_one(torch.log),
    "Max": _of_many(torch.maximum),
    "Mean": _mean,
    "Min": _of_many(torch.minimum),
    "Mish": _of_one(functional.mish),
    "Mul": _of_two(operator.mul),
    "Neg": _of_one(torch.neg),
    "Not": _of_one(torch.logical_not),
    "Or": _of_two(torch.logical_or),
    "PRelu": _prelu,
    "Pow": _of_two(_power),
    "Reciprocal": _of_one(torch.reciprocal),
    "Relu": _of_one(torch.relu),
    "Selu": _selu,
    "Sigmoid": _of_one(torch.sigmoid),
    "Sign": _of_one(torch.sign),
    "Sin": _of_one(torch.sin),
    "Softplus": _of_one(functional.softplus),
    "Softsign": _of_one(functional.softsign),
    "Sqrt": _of_one(torch.sqrt),
    "Sub": _of_two(operator.sub),
    "Sum": _of_many(operator.add),
    "Swish": _swish,
    "Tanh": _of_one(torch.tanh),
    "Where": _where,
    "Xor": _of_two(torch.logical_xor),
}
