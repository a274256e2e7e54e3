"""Softmax, normalizations and reductions over the last axis, with the vector lanes written out.

A floating-point reduction is not reordered by LLVM, so it would run one element at a time. Here a row is folded into
`lanes` partial results first, those into one by a tree, and what does not fill a vector is added last.
"""

from __future__ import annotations

from collections.abc import Callable

from npuopt.delegates.host.tvm_api import Element, Expression, Index, Tensor, compute, te, tirx
from npuopt.delegates.host.tvm_products import ROLE

ROW, LANES = "row", "lanes"
MOST_PARTIALS = 4


def softmax(x: Tensor, lanes: int) -> Tensor:
    """e^(x - max) / sum(e^(x - max)) over the last axis."""
    largest = fold_rows(x, "max", lanes)
    shifted = compute(x.shape, lambda *i: tirx.exp(x(*i) - largest(*i[:-1])), "exponential", {ROLE: ROW})
    total = fold_rows(shifted, "sum", lanes)
    inverse = compute(total.shape, lambda *i: tirx.const(1.0, "float32") / total(*i), "inverse", {ROLE: ROW})
    return compute(x.shape, lambda *i: shifted(*i) * inverse(*i[:-1]), "softmax")


def layer_norm(x: Tensor, scale: Tensor, bias: Tensor, epsilon: float, lanes: int) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis, variance in two passes."""
    extent = float(int(x.shape[-1]))
    mean = _scaled(fold_rows(x, "sum", lanes), 1.0 / extent, "mean")
    centred = compute(x.shape, lambda *i: x(*i) - mean(*i[:-1]), "centred", {ROLE: ROW})
    squares = fold_rows(centred, "sum of squares", lanes)
    inverse = _inverse_root(squares, extent, epsilon)
    return compute(x.shape, lambda *i: centred(*i) * inverse(*i[:-1]) * scale(i[-1]) + bias(i[-1]), "layer_norm")


def rms_norm(x: Tensor, scale: Tensor, epsilon: float, lanes: int) -> Tensor:
    """X / sqrt(mean(x^2) + epsilon) * scale over the last axis."""
    inverse = _inverse_root(fold_rows(x, "sum of squares", lanes), float(int(x.shape[-1])), epsilon)
    return compute(x.shape, lambda *i: x(*i) * inverse(*i[:-1]) * scale(i[-1]), "rms_norm")


def reduction(x: Tensor, kind: str, keep: bool, lanes: int) -> Tensor:
    """Sum, mean or maximum of the last axis."""
    kept = 1 if keep else 0
    folded = fold_rows(x, "sum" if kind == "mean" else kind, lanes)
    factor = tirx.const(1.0 / int(x.shape[-1]) if kind == "mean" else 1.0, "float32")
    shape = (*x.shape[:-1], 1) if keep else x.shape[:-1]

    def element(*index: Index) -> Expression:
        value = folded(*index[: len(index) - kept])
        return value * factor if kind == "mean" else value

    return compute(shape, element, kind)


def fold_rows(x: Tensor, kind: str, lanes: int) -> Tensor:
    """Reduce the last axis by `sum`, `sum of squares` or `max`."""
    *outer, extent = (int(size) for size in x.shape)
    join = tirx.max if kind == "max" else _add
    value = _square(x) if kind == "sum of squares" else x
    vectors = extent // lanes
    joined = _join_vectors(value, outer, vectors, lanes, kind) if vectors else None

    def element(*index: Index) -> Expression:
        parts = [] if joined is None else [joined(*index, at) for at in range(lanes)]
        parts += [value(*index, at) for at in range(vectors * lanes, extent)]
        return _tree(parts, join)

    return compute(outer, element, "folded", {ROLE: ROW})


def _join_vectors(value: Element, outer: list[int], vectors: int, lanes: int, kind: str) -> Tensor:
    """Fold whole vectors into one: several sums side by side first, for one alone would wait for itself."""
    partials = next(count for count in (MOST_PARTIALS, 2, 1) if vectors % count == 0)
    join = tirx.max if kind == "max" else _add
    folded = _fold_vectors(value, outer, vectors // partials, partials * lanes, kind)

    def element(*index: Index) -> Expression:
        *row, lane = index
        return _tree([folded(*row, lane + part * lanes) for part in range(partials)], join)

    return compute((*outer, lanes), element, "joined", {ROLE: LANES})


def _fold_vectors(value: Element, outer: list[int], steps: int, width: int, kind: str) -> Tensor:
    step = te.reduce_axis((0, steps), "step")
    reduce = te.max if kind == "max" else te.sum
    return compute(
        (*outer, width),
        lambda *i: reduce(value(*i[:-1], step * width + i[-1]), axis=step),
        "lanes",
        {ROLE: LANES},
    )


def _tree(values: list[Expression], join: Callable[[Expression, Expression], Expression]) -> Expression:
    while len(values) > 1:
        half = (len(values) + 1) // 2
        values = [join(values[at], values[at + half]) if at + half < len(values) else values[at] for at in range(half)]
    return values[0]


def _square(x: Tensor) -> Element:
    return lambda *index: x(*index) * x(*index)


def _add(left: Expression, right: Expression) -> Expression:
    return left + right


def _scaled(x: Tensor, factor: float, name: str) -> Tensor:
    return compute(x.shape, lambda *i: x(*i) * tirx.const(factor, "float32"), name, {ROLE: ROW})


def _inverse_root(squares: Tensor, extent: float, epsilon: float) -> Tensor:
    def element(*index: Index) -> Expression:
        mean = squares(*index) * tirx.const(1.0 / extent, "float32")
        return tirx.const(1.0, "float32") / tirx.sqrt(mean + tirx.const(epsilon, "float32"))

    return compute(squares.shape, element, "inverse_root", {ROLE: ROW})
