"""How exporters spell the parts of a normalization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import Anything, Constant, Either, Number, Op

if TYPE_CHECKING:
    from npuopt.graph.matcher import Pattern


def mean(value: Pattern) -> Op:
    """Return a mean over axes that `trailing_axis` looks at."""
    return Op("ReduceMean", value, Anything())


def square(value: Pattern) -> Either:
    """Return the spellings of a square."""
    return Either(Op("Mul", value, value), Op("Pow", value, Number(2.0)))


def mean_square(value: Pattern) -> Op:
    """Return the mean of squares plus a constant called epsilon."""
    return Op("Add", mean(square(value)), Constant("epsilon"))


def inverse_root(value: Pattern) -> Either:
    """Return the spellings of one over the square root."""
    root = Op("Sqrt", value)
    return Either(Op("Reciprocal", root), Op("Div", Number(1.0), root), Op("Pow", value, Number(-0.5)))


def over_root(value: Pattern, total: Pattern) -> Either:
    """Return the spellings of `value` divided by the square root of `total`."""
    return Either(
        Op("Div", value, Op("Sqrt", total)),
        Op("Div", value, Op("Pow", total, Number(0.5))),
        Op("Mul", value, inverse_root(total)),
    )
