"""Simple ops between the patterns: everything that moves, joins, parts, broadcasts and reduces values, at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuzz.graphs import Chained

    Shape = tuple[int, ...]

FLOAT, HALF, INT32 = 1, 10, 6


def add_glue(around: Chained) -> None:
    """Add one simple op, or a few that go together, to a value drawn from those made so far."""
    values = around.values()
    if not values:
        return
    shape = around.choose(*values)
    kinds = [*ANY, *(OF_RANK if shape else ()), *(NOT_EMPTY if shape and 0 not in shape else ())]
    around.choose(*kinds)(around, around.choose(*values[shape]), shape)


def _integers(around: Chained, *numbers: int) -> str:
    return around.constant(np.array(numbers, np.int64), varies=False)


def _axis(around: Chained, shape: Shape) -> int:
    return around.draw(st.integers(-len(shape), len(shape) - 1))


def _other(around: Chained, shape: Shape) -> str:
    """Return another value of this shape."""
    return around.choose(*around.values()[shape])


def _unary(around: Chained, value: str, shape: Shape) -> None:
    del shape
    around.op(around.choose("Relu", "Neg", "Abs", "Identity", "Tanh", "Sigmoid", "Floor"), value)


def _binary(around: Chained, value: str, shape: Shape) -> None:
    around.op(around.choose("Add", "Sub", "Mul", "Max", "Min"), value, _other(around, shape))


def _scalar(around: Chained, value: str, shape: Shape) -> None:
    array = np.full(around.choose((), (1,), (1,) * len(shape)), around.choose(1.0, 0.0, -1.0, 0.5), np.float32)
    op_type = around.choose("Add", "Mul", "Sub", "Div" if array.any() else "Mul", "Max")
    operands = [value, around.constant(array)]
    around.op(op_type, *(operands if around.choose(True, False) or op_type == "Div" else operands[::-1]))


def _broadcast(around: Chained, value: str, shape: Shape) -> None:
    """With an operand that is shorter, or stretches what is of size 1."""
    kept = around.draw(st.integers(0, len(shape)))
    other = [around.choose(size, 1) if size != 1 else around.choose(1, 1, 2) for size in shape[kept:]]
    array = np.arange(np.prod(other, dtype=int), dtype=np.float32).reshape(other) - 1
    around.op(around.choose("Add", "Mul", "Sub"), value, around.constant(array))


def _cast(around: Chained, value: str, shape: Shape) -> None:
    del shape
    there = around.op("Cast", value, to=around.choose(HALF, INT32, FLOAT, 11))
    around.op("Cast", there, to=FLOAT)


def _where(around: Chained, value: str, shape: Shape) -> None:
    limit = around.constant(np.float32(around.choose(0.0, 0.5)), varies=False)
    condition = around.op(around.choose("Greater", "Less"), value, limit)
    other = around.choose(limit, _other(around, shape))
    around.op("Where", condition, *(around.choose((value, other), (other, value))))


def _transpose(around: Chained, value: str, shape: Shape) -> None:
    order = around.draw(st.permutations(range(len(shape))))
    turned = around.op("Transpose", value, perm=order)
    if around.choose(True, False):
        inner = around.op(around.choose("Relu", "Neg"), turned)
        back = sorted(range(len(shape)), key=order.__getitem__)
        around.op("Transpose", inner, perm=around.choose(back, around.draw(st.permutations(back))))


def _concat(around: Chained, value: str, shape: Shape) -> None:
    around.op(
        "Concat", value, *(_other(around, shape) for _ in range(around.choose(0, 1, 2))), axis=_axis(around, shape)
    )


def _slice(around: Chained, value: str, shape: Shape) -> None:
    start, end, step = around.choose(
        (0, 2, 1), (1, 2**40, 1), (-2, -1, 1), (-1, -(2**40), -1), (0, 2**40, 2), (2, 1, 1)
    )
    axis = _axis(around, shape)
    around.op("Slice", value, *(_integers(around, number) for number in (start, end, axis, step)))


def _pad(around: Chained, value: str, shape: Shape) -> None:
    pads = around.draw(st.lists(st.integers(0, 1), min_size=2 * len(shape), max_size=2 * len(shape)))
    around.op("Pad", value, _integers(around, *pads))


def _reduce(around: Chained, value: str, shape: Shape) -> None:
    axes = around.draw(st.sets(st.integers(0, len(shape) - 1), max_size=2))
    given = [] if not axes and around.choose(True, False) else [_integers(around, *axes)]
    kind = around.choose("ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2")
    more = {"noop_with_empty_axes": around.choose(0, 1)} if not axes else {}
    around.op(kind, value, *given, keepdims=around.choose(0, 1), **more)


def _softmax(around: Chained, value: str, shape: Shape) -> None:
    around.op(around.choose("Softmax", "LogSoftmax"), value, axis=_axis(around, shape))


def _normalize(around: Chained, value: str, shape: Shape) -> None:
    scale = around.constant(np.linspace(0.5, 2, shape[-1], dtype=np.float32))
    kind = around.choose("LayerNormalization", "RMSNormalization")
    around.op(kind, value, scale, axis=around.choose(-1, len(shape) - 1), epsilon=around.choose(1e-5, 0.1))


def _gather(around: Chained, value: str, shape: Shape) -> None:
    axis = _axis(around, shape)
    indices = np.array(around.choose(0, -1, [0], [-1, 0], [[0, -1]]), np.int64)
    around.op("Gather", value, around.constant(indices, varies=False), axis=axis)


def _split(around: Chained, value: str, shape: Shape) -> None:
    axis = _axis(around, shape)
    first = around.draw(st.integers(0, shape[axis]))
    around.ops("Split", value, _integers(around, first, shape[axis] - first), outputs=2, axis=axis)


def _slices(around: Chained, value: str, shape: Shape) -> None:
    """Two parts along one axis, which may overlap or leave a gap."""
    axis, size = _axis(around, shape), shape[-1]
    for start, end in ((0, around.choose(size // 2, size)), (around.choose(size // 2, -(size // 2)), 2**40)):
        around.op("Slice", value, *(_integers(around, number) for number in (start, end, axis)))


def _reshape(around: Chained, value: str, shape: Shape) -> None:
    turned = [*shape[1:], shape[0]]
    wanted = around.choose([-1], [1, -1], [*shape, 1], [1, *shape], [0, -1], turned)
    around.op("Reshape", value, _integers(around, *wanted))


def _computed_reshape(around: Chained, value: str, shape: Shape) -> None:
    """To a shape that is computed, and back."""
    sizes = around.op("Shape", value)
    first = around.op("Slice", sizes, _integers(around, 0), _integers(around, 1))
    flat = around.op("Concat", first, _integers(around, -1), axis=0)
    inner = around.op("Relu", around.op("Reshape", value, flat))
    around.op("Reshape", inner, around.choose(sizes, _integers(around, 0, *shape[1:])))


def _stretch(around: Chained, value: str, shape: Shape) -> None:
    if around.choose(True, False):
        around.op("Tile", value, _integers(around, *(around.choose(1, 1, 2, 0) for _ in shape)))
    else:
        around.op("Expand", value, _integers(around, *around.choose(shape, (2, *shape), [1] * len(shape), (1,))))


def _squeeze(around: Chained, value: str, shape: Shape) -> None:
    axis = around.draw(st.integers(-len(shape) - 1, len(shape)))
    lifted = around.op("Unsqueeze", value, _integers(around, axis))
    if around.choose(True, False):
        around.op("Squeeze", around.op("Neg", lifted), _integers(around, axis))


def _matmul(around: Chained, value: str, shape: Shape) -> None:
    columns = around.choose(1, 3)
    weight = np.linspace(-1, 1, shape[-1] * columns, dtype=np.float32).reshape(shape[-1], columns)
    product = around.op("MatMul", value, around.constant(weight))
    bias = around.choose((), (columns,), (1, columns), (shape[-2] if len(shape) > 1 else 1, 1))
    around.op("Add", product, around.constant(np.arange(np.prod(bias, dtype=int), dtype=np.float32).reshape(bias)))


def _clip(around: Chained, value: str, shape: Shape) -> None:
    del shape
    low, high = (
        around.constant(np.float32(number), varies=False) for number in around.choose((-1, 1), (0, 6), (1, -1))
    )
    clipped = around.op("Clip", value, *around.choose((low, high), (low,), ("", high)))
    around.op("Relu", clipped)


ANY: tuple[Callable[[Chained, str, tuple[int, ...]], None], ...] = (_unary, _binary, _scalar, _broadcast, _cast, _where)
"""For values of any shape."""
OF_RANK = (_transpose, _concat, _slice, _pad, _stretch, _squeeze)
"""For values that have an axis."""
NOT_EMPTY = (
    *(_reduce, _softmax, _normalize, _gather, _split, _slices, _reshape, _computed_reshape, _matmul, _clip),
    _transpose,
)
"""For values that have elements, too."""
