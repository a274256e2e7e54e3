# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; only the worker imports this file.
"""Ops that compute element by element."""

from collections.abc import Callable
from functools import reduce

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813
from onnx_to_mil.table import EMITTERS, Node, Value, emits, is_integer, variable

BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Pow": "pow", "Equal": "equal", "Greater": "greater",
    "GreaterOrEqual": "greater_equal", "Less": "less", "LessOrEqual": "less_equal", "And": "logical_and",
    "Or": "logical_or", "Xor": "logical_xor",
}  # fmt: skip
UNARY = {
    "Abs": "abs", "Acos": "acos", "Asin": "asin", "Atan": "atan", "Atanh": "atanh", "Ceil": "ceil", "Cos": "cos",
    "Cosh": "cosh", "Erf": "erf", "Exp": "exp", "Floor": "floor", "Not": "logical_not", "Relu": "relu",
    "Round": "round", "Sigmoid": "sigmoid", "Sign": "sign", "Sin": "sin", "Sinh": "sinh", "Softsign": "softsign",
    "Sqrt": "sqrt", "Tan": "tan", "Tanh": "tanh", "Softplus": "softplus",
}  # fmt: skip
VARIADIC = {"Max": "maximum", "Min": "minimum", "Sum": "add"}
CASTS = {"float32": "fp32", "float16": "fp32", "float64": "fp32", "int32": "int32", "int64": "int32", "bool": "bool"}


def _binary(operation: str) -> Callable:
    def emit(node: Node) -> Value:
        return getattr(mb, operation)(x=variable(node.inputs[0]), y=variable(node.inputs[1]))

    return emit


def _unary(operation: str) -> Callable:
    def emit(node: Node) -> Value:
        return getattr(mb, operation)(x=node.inputs[0])

    return emit


def _variadic(operation: str) -> Callable:
    def emit(node: Node) -> Value:
        return reduce(lambda left, right: getattr(mb, operation)(x=left, y=right), map(variable, node.inputs))

    return emit


EMITTERS |= {op: _binary(name) for op, name in BINARY.items()}
EMITTERS |= {op: _unary(name) for op, name in UNARY.items()}
EMITTERS |= {op: _variadic(name) for op, name in VARIADIC.items()}


@emits("Div")
def divide(node: Node) -> Value:
    """Divide; whole numbers as ONNX does for those that are not negative."""
    left, right = map(variable, node.inputs)
    return (mb.floor_div if is_integer(left) else mb.real_div)(x=left, y=right)


@emits("Neg")
def negate(node: Node) -> Value:
    """Multiply with -1."""
    return mb.mul(x=node.inputs[0], y=np.int32(-1) if is_integer(node.inputs[0]) else np.float32(-1))


@emits("Reciprocal")
def reciprocal(node: Node) -> Value:
    """Divide 1 by it: MIL's inverse adds 1e-4 to it."""
    return mb.real_div(x=np.float32(1), y=node.inputs[0])


@emits("Log")
def logarithm(node: Node) -> Value:
    """Take the logarithm; MIL adds an epsilon, here the smallest."""
    return mb.log(x=node.inputs[0], epsilon=np.float32(1e-45))


@emits("Identity")
def identity(node: Node) -> Value:
    """Pass it on."""
    return node.inputs[0]


@emits("Cast")
def cast(node: Node) -> Value:
    """Change the type; all floats are one here, and so are all integers of 32 bits and more."""
    wanted = CASTS.get(str(node.get("to")))
    if wanted is None:
        raise ValueError(f"MIL has no cast to {node.get('to')}")
    return mb.cast(x=node.inputs[0], dtype=wanted)


@emits("Where")
def where(node: Node) -> Value:
    """Choose."""
    condition, yes, no = map(variable, node.inputs)
    return mb.select(cond=condition, a=yes, b=no)


@emits("Clip")
def clip(node: Node) -> Value:
    """Bound from below, from above, or both."""
    value, low, high = node.inputs[0], node.fixed(1), node.fixed(2)
    if low is not None and high is not None and not is_integer(value):
        return mb.clip(x=value, alpha=np.float32(low[0]), beta=np.float32(high[0]))
    kind = np.int32 if is_integer(value) else np.float32
    value = value if low is None else mb.maximum(x=value, y=kind(low[0]))
    return value if high is None else mb.minimum(x=value, y=kind(high[0]))


@emits("LeakyRelu")
def leaky_relu(node: Node) -> Value:
    """A slope below zero."""
    return mb.leaky_relu(x=node.inputs[0], alpha=np.float32(node.get("alpha", 0.01)))


@emits("Elu")
def elu(node: Node) -> Value:
    """An exponential below zero."""
    return mb.elu(x=node.inputs[0], alpha=np.float32(node.get("alpha", 1.0)))


@emits("PRelu")
def prelu(node: Node) -> Value:
    """Slopes below zero, broadcast."""
    value, slope = node.inputs[0], variable(node.inputs[1])
    below = mb.mul(x=mb.minimum(x=value, y=np.float32(0)), y=slope)
    return mb.add(x=mb.relu(x=value), y=below)


def _hard_sigmoid(value: Value, alpha: float, beta: float) -> Value:
    return mb.sigmoid_hard(x=value, alpha=np.float32(alpha), beta=np.float32(beta))


@emits("HardSigmoid")
def hard_sigmoid(node: Node) -> Value:
    """A line between 0 and 1."""
    return _hard_sigmoid(node.inputs[0], node.get("alpha", 0.2), node.get("beta", 0.5))


@emits("HardSwish")
def hard_swish(node: Node) -> Value:
    """The input times its hard sigmoid."""
    return mb.mul(x=node.inputs[0], y=_hard_sigmoid(node.inputs[0], 1 / 6, 0.5))


@emits("Swish")
def swish(node: Node) -> Value:
    """The input times the sigmoid of alpha times it."""
    value, alpha = node.inputs[0], node.get("alpha", 1.0)
    scaled = value if alpha == 1 else mb.mul(x=value, y=np.float32(alpha))
    return mb.silu(x=value) if alpha == 1 else mb.mul(x=value, y=mb.sigmoid(x=scaled))


@emits("Gelu")
def gelu(node: Node) -> Value:
    """By the error function, or approximated by tanh."""
    tanh = node.get("approximate", "none") == "tanh"
    return mb.gelu(x=node.inputs[0], mode="TANH_APPROXIMATION" if tanh else "EXACT")


@emits("Mish")
def mish(node: Node) -> Value:
    """The input times tanh of softplus of it."""
    return mb.mul(x=node.inputs[0], y=mb.tanh(x=mb.softplus(x=node.inputs[0])))
