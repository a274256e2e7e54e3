"""Arithmetic, comparisons and logic on each element, and activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.delegates.litert.context import Result
from npuopt.delegates.litert.flat import Encoding
from npuopt.delegates.litert.step import NONE, RELU, RELU6, activation_of
from npuopt.delegates.litert.values import Held, Order, is_float, plain, shape_of
from npuopt.delegates.litert.weights import float_numbers, is_known
from npuopt.graph import attribute, scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.delegates.litert.context import Context
    from npuopt.delegates.litert.step import Emitter, Step
    from npuopt.graph import Node, Value

FIXED = {
    ("LOGISTIC", "int8"): Encoding((1 / 256,), (-128,)),
    ("LOGISTIC", "int16"): Encoding((1 / 32768,), (0,)),
    ("SOFTMAX", "int8"): Encoding((1 / 256,), (-128,)),
    ("SOFTMAX", "int16"): Encoding((1 / 32768,), (0,)),
    ("TANH", "int8"): Encoding((1 / 128,), (0,)),
    ("TANH", "int16"): Encoding((1 / 32768,), (0,)),
}
"""Encodings that kernels write in whatever they are told."""
UNARY = {
    "Abs": "ABS", "Ceil": "CEIL", "Cos": "COS", "Elu": "ELU", "Exp": "EXP", "Floor": "FLOOR", "HardSwish": "HARD_SWISH",
    "Log": "LOG", "Not": "LOGICAL_NOT", "Relu": "RELU", "Round": "ROUND", "Sigmoid": "LOGISTIC",
    "Sign": "SIGN", "Sin": "SIN", "Sqrt": "SQRT", "Tanh": "TANH",
}  # fmt: skip
BINARY = {
    "Add": "ADD", "And": "LOGICAL_AND", "Div": "DIV", "Equal": "EQUAL", "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL", "Less": "LESS", "LessOrEqual": "LESS_EQUAL", "Max": "MAXIMUM", "Min": "MINIMUM",
    "Mul": "MUL", "Or": "LOGICAL_OR", "Pow": "POW", "Sub": "SUB",
}  # fmt: skip
ARITHMETIC = frozenset({"ADD", "DIV", "MUL", "SUB"})
"""Operators that end with an activation of their own."""
ROOT = -0.5
"""The exponent that RSQRT has."""
SMALL = 1e-6
"""How far from minus a half an exponent may be that was stored in 8 bits."""
ONE_ENCODING = frozenset({"MAXIMUM", "MINIMUM"})
"""Operators that compare stored integers, so that all their tensors need one encoding."""


def unary(step: Step, context: Context) -> None:
    """Write a function of each element."""
    name = UNARY[step.node.op_type]
    x = context.read(step.input(0))
    context.emit(name, [x.index], Result(step.output, x.order, FIXED.get((name, x.dtype))))


def negative(step: Step, context: Context) -> None:
    """Write a Neg of integers as a product: NEG negates these themselves, whatever scales and zero points say."""
    x = context.read(step.input(0))
    if x.encoding is None:
        context.emit("NEG", [x.index], Result(step.output, x.order))
        return
    minus_one = context.constant(np.array(-64, x.dtype), encoding=Encoding((1 / 64,), (0,)))
    context.emit("MUL", [x.index, minus_one], Result(step.output, x.order), fusedActivationFunction=NONE)


def binary(step: Step, context: Context) -> None:
    """Write a function of two tensors that broadcast."""
    name = BINARY[step.node.op_type]
    if len(step.node.inputs) != 2:
        raise step.refusal(f"it has {len(step.node.inputs)} inputs")
    order, sides = operands(step, context, [step.input(0), step.input(1)])
    if name in ONE_ENCODING and context.integers:
        wanted = context.wanted_encoding(step.output)
        if wanted is not None:
            sides = [context.requantize(side, wanted) for side in sides]
    kind = sides[0].dtype
    options: dict[str, int] = {"fusedActivationFunction": step.activation} if name in ARITHMETIC else {}
    if kind == "int16" and name in ("ADD", "SUB"):
        options["potScaleInt16"] = False  # scales that happen to be powers of two are shifted wrong, or refused
    context.emit(name, [side.index for side in sides], Result(step.output, order), kind=kind, **options)


def where(step: Step, context: Context) -> None:
    """Write a Where as SELECT_V2, whose two sides have the encoding of its output."""
    order, (condition, *sides) = operands(step, context, [step.input(index) for index in range(3)])
    wanted = context.wanted_encoding(step.output)
    if wanted is not None:
        sides = [context.requantize(side, wanted) for side in sides]
    context.emit("SELECT_V2", [condition.index, *(side.index for side in sides)], Result(step.output, order))


def operands(step: Step, context: Context, values: Sequence[Value]) -> tuple[Order, list[Held]]:
    """Return tensors that broadcast as the ONNX values do, and the order of axes of the result."""
    depth = len(shape_of(step.output))
    orders = [context.known_order(value) for value in values if len(shape_of(value)) == depth]
    order = next((known for known in orders if known is not None), plain(depth))
    sides = [context.read(value, _order_for(value, order)) for value in values]
    for side in sides:
        if side.encoding is not None and not side.encoding.per_tensor:
            raise step.refusal("a constant with a scale for each channel")
    return order, sides


def _order_for(value: Value, order: Order) -> Order:
    """Return in which order an operand is read: in ONNX's with fewer axes where the result's order is ONNX's."""
    given = len(shape_of(value))
    return plain(given) if order == plain(len(order)) or given == 0 else order


def gelu(step: Step, context: Context) -> None:
    """Write a Gelu."""
    x = context.read(step.input(0))
    approximate = attribute(step.node, "approximate", "none") == "tanh"
    context.emit("GELU", [x.index], Result(step.output, x.order), approximate=approximate)


def leaky_relu(step: Step, context: Context) -> None:
    """Write a LeakyRelu."""
    x = context.read(step.input(0))
    context.emit("LEAKY_RELU", [x.index], Result(step.output, x.order), alpha=attribute(step.node, "alpha", 0.01))


def prelu(step: Step, context: Context) -> None:
    """Write a PRelu; its slopes are shaped like one item of the data, as TFLite wants them."""
    x = context.read(step.input(0))
    if not is_known(step.input(1)):
        raise step.refusal("slopes that are made at run time")
    slope = context.read(step.input(1), _order_for(step.input(1), x.order))
    context.emit("PRELU", [x.index, slope.index], Result(step.output, x.order))


def clip(step: Step, context: Context) -> None:
    """Write a Clip as RELU, RELU6 or a MAXIMUM and a MINIMUM."""
    x = context.read(step.input(0))
    code = activation_of(step.node) if is_float(step.input(0)) else NONE
    if code != NONE:
        context.emit({RELU: "RELU", RELU6: "RELU6"}[code], [x.index], Result(step.output, x.order))
        return
    bounds: list[tuple[str, int]] = []
    for index, name in ((1, "MAXIMUM"), (2, "MINIMUM")):
        value = step.optional(index)
        limit = scalar(value)
        if value is not None and limit is None:
            raise step.refusal("a bound that is made at run time")
        if limit is not None and np.isfinite(limit):
            bounds.append((name, context.constant(_stored(limit, x), encoding=x.encoding)))
    if not bounds:
        context.bind(step.output, x)
        return
    for name, bound in bounds[:-1]:
        made = context.intermediate(f"{step.output.name}_above", x, x.shape)
        context.operator(name, [x.index, bound], [made.index], x.dtype)
        x = Held(made.index, x.shape, x.dtype, x.encoding, x.order)
    name, bound = bounds[-1]
    context.emit(name, [x.index, bound], Result(step.output, x.order, x.encoding))


def _stored(number: float, like: Held) -> np.ndarray:
    """Return a number as it is stored beside a tensor."""
    if like.encoding is None:
        return np.array(number).astype(like.dtype)
    limits = np.iinfo(like.dtype)
    integer = np.rint(number / like.encoding.scale) + like.encoding.zero_point
    return np.array(np.clip(integer, limits.min, limits.max)).astype(like.dtype)


def softmax(step: Step, context: Context) -> None:
    """Write a Softmax, whose axis TFLite wants last."""
    x = context.read(step.input(0))
    axis = attribute(step.node, "axis", -1) % x.rank
    if x.order[-1] != axis:
        x = context.reorder(x, (*(one for one in x.order if one != axis), axis))
    context.emit("SOFTMAX", [x.index], Result(step.output, x.order, FIXED.get(("SOFTMAX", x.dtype))), beta=1.0)


def power(step: Step, context: Context) -> None:
    """Write a Pow; the exponent -1/2 is RSQRT, which integers have too, and 2 is a product."""
    number = exponent(step.node)
    x = context.read(step.input(0))
    if number is not None and abs(number - ROOT) < SMALL:
        context.emit("RSQRT", [x.index], Result(step.output, x.order))
    elif number == 2:
        context.emit("MUL", [x.index, x.index], Result(step.output, x.order), fusedActivationFunction=NONE)
    else:
        binary(step, context)


def exponent(node: Node) -> float | None:
    """Return the one exponent that a Pow has for all elements, or None."""
    base, value = node.inputs
    if base is None or value is None or not is_known(value) or shape_of(base) != shape_of(node.outputs[0]):
        return None
    numbers = float_numbers(value)
    return float(numbers.reshape(())) if numbers.size == 1 else None


def is_integer_power(node: Node) -> bool:
    """Say whether a Pow has a form between integers."""
    number = exponent(node)
    return number == 2 or (number is not None and abs(number - ROOT) < SMALL)


def reciprocal(step: Step, context: Context) -> None:
    """Write a Reciprocal as a division."""
    x = context.read(step.input(0))
    if x.encoding is not None:
        raise step.refusal("no quantized division")
    one = context.constant(np.array(1, np.float32))
    context.emit("DIV", [one, x.index], Result(step.output, x.order), fusedActivationFunction=NONE)


EMITTERS: dict[str, Emitter] = {
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys(BINARY, binary),
    "Clip": clip,
    "Gelu": gelu,
    "LeakyRelu": leaky_relu,
    "Neg": negative,
    "PRelu": prelu,
    "Pow": power,
    "Reciprocal": reciprocal,
    "Softmax": softmax,
    "Where": where,
}
