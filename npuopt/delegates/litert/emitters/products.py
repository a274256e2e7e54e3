"""Matrix products: FULLY_CONNECTED with constant weights, BATCH_MATMUL with run-time ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.delegates.litert.context import Result
from npuopt.delegates.litert.emitters.windows import version_kind
from npuopt.delegates.litert.values import Held, plain, shape_of
from npuopt.delegates.litert.weights import bias, is_known, weight
from npuopt.graph import attribute

if TYPE_CHECKING:
    from npuopt.delegates.litert.context import Context
    from npuopt.delegates.litert.step import Emitter, Step
    from npuopt.graph import Value


def gemm(step: Step, context: Context) -> None:
    """Write a Gemm as FULLY_CONNECTED."""
    if attribute(step.node, "transA", 0) or attribute(step.node, "alpha", 1.0) != 1:
        raise step.refusal("transA or alpha")
    addend = step.optional(2)
    if addend is not None and (attribute(step.node, "beta", 1.0) != 1 or not is_known(addend)):
        raise step.refusal("beta, or a bias that is made at run time")
    if not is_known(step.input(1)):
        raise step.refusal("its weight is made at run time")
    order = (0, 1) if attribute(step.node, "transB", 0) else (1, 0)
    fully_connected(step, context, order, addend)


def matmul(step: Step, context: Context) -> None:
    """Write a MatMul as FULLY_CONNECTED or BATCH_MATMUL."""
    if is_known(step.input(1)) and len(shape_of(step.input(1))) == 2 and len(shape_of(step.input(0))) > 1:
        fully_connected(step, context, (1, 0), None)
    else:
        batch_matmul(step, context)


def fully_connected(step: Step, context: Context, order: tuple[int, int], addend: Value | None) -> None:
    """Write a product with a constant matrix, `order` of which puts the outputs first."""
    depth = len(shape_of(step.input(0)))
    x = context.read(step.input(0), plain(depth))
    matrix = weight(context, step.input(1), order)
    biases = bias(context, addend, x, matrix, matrix.shape[0])
    context.emit(
        "FULLY_CONNECTED",
        [x.index, matrix.index, biases],
        Result(step.output, plain(len(shape_of(step.output)))),
        kind=version_kind(x, matrix),
        keepNumDims=depth > 2,
        fusedActivationFunction=step.activation,
    )


def batch_matmul(step: Step, context: Context) -> None:
    """Write a product of two tensors; one whose last two axes are swapped is read as it lies."""
    sides = [operand(context, step.input(index)) for index in (0, 1)]
    if any(side.rank < 2 for side, _ in sides):
        raise step.refusal("a vector")
    (left, left_swapped), (right, right_swapped) = sides
    context.emit(
        "BATCH_MATMUL",
        [left.index, right.index],
        Result(step.output, plain(len(shape_of(step.output)))),
        adjX=left_swapped,
        adjY=right_swapped,
    )


def operand(context: Context, value: Value) -> tuple[Held, bool]:
    """Return one side of a product, and whether its last two axes are swapped."""
    depth = len(shape_of(value))
    swapped = (*range(depth - 2), depth - 1, depth - 2)
    if depth > 1 and context.known_order(value) == swapped:
        return context.read(value, swapped), True
    return context.read(value, plain(depth)), False


EMITTERS: dict[str, Emitter] = {"Gemm": gemm, "MatMul": matmul}
