"""Which part of a tensor's range its readers can tell apart: what lies outside need not be represented."""

from __future__ import annotations

from math import inf, log
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, is_op, scalar, static_shape
from npuopt.quantization.arithmetic import limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from npuopt.graph import Node, Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.ranges import Range

EVERYTHING = (-inf, inf)


BOUNDED: dict[str, tuple[float, float]] = {
    "Cos": (-1.0, 1.0),
    "Erf": (-1.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "Sin": (-1.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Softsign": (-1.0, 1.0),
    "Tanh": (-1.0, 1.0),
}
"""Ops whose results lie in a known interval, which is held whole: no sample needs to show all of it."""


def narrowed(found: Range, readers: Iterable[tuple[Node, Value]], dtype: IntegerType) -> Range:
    """Return the part of `found` that makes a difference to any reader's result held in `dtype`.

    Args:
        found: the range that was seen.
        readers: nodes with the tensor that each reads; no reader at all means that everything counts.
        dtype: the integer type of the readers' results.
    """
    wanted = [_needed(node, value, found, dtype) for node, value in readers]
    if not wanted:
        return found
    return found.within(min(low for low, _ in wanted), max(high for _, high in wanted))


def _needed(node: Node, value: Value, found: Range, dtype: IntegerType) -> tuple[float, float]:
    """Return the interval of its input beyond which the node's result no longer changes by half a step of `dtype`."""
    smallest, largest = limits(dtype)
    half_steps = log(2 * (largest - smallest))
    if is_op(node, "Relu"):
        return 0.0, inf
    if is_op(node, "Clip") and node.inputs[0] is value:
        return clip_bounds(node)
    if is_op(node, "Sigmoid"):
        # 1 / (1 + exp(x)) < exp(-x)
        return -half_steps, half_steps
    if is_op(node, "Tanh"):
        # 1 - tanh(x) < 2 exp(-2 x), and the result spans 2
        return -half_steps / 2, half_steps / 2
    if is_op(node, "Softmax") and found.row_peak is not None:
        return softmax_floor(node, value, found.row_peak, dtype), inf
    return EVERYTHING


def clip_bounds(node: Node) -> tuple[float, float]:
    """Return the interval that a Clip limits to; without an end where a bound is left out or not known."""
    return _bound(node, 1, -inf), _bound(node, 2, inf)


def softmax_floor(node: Node, value: Value, row_peak: float, dtype: IntegerType) -> float:
    """Return the score below which all scores of a row together have a share of less than half a step of `dtype`.

    Args:
        node: the Softmax.
        value: what it reads.
        row_peak: the least maximum of any row.
        dtype: the integer type of its result.
    """
    smallest, largest = limits(dtype)
    shape = static_shape(value)
    row = shape[attribute(node, "axis", -1)] if shape else 1
    # Each of the row's n numbers this far below the peak has a share of less than half a step / n.
    return row_peak - log(2 * (largest - smallest)) - log(max(row, 1))


def _bound(node: Node, index: int, absent: float) -> float:
    """Return a bound of Clip: `absent` where it is left out, nothing narrower where it is not known."""
    value = input_at(node, index)
    known = scalar(value)
    return absent if known is None else known
