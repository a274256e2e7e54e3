from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, rank, static_shape
from npuopt.passes.lower.equations import read_equation
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

    Term = tuple[Value, str]


@dataclass(frozen=True)
class LowerEinsum(FormulaLowering):
    """Einsum becomes Transpose, ReduceSum, Reshape and MatMul.

    `Einsum<"bhid,bhjd->bhij">(q, k) -> MatMul(q, Transpose(k))`: letters of both inputs and the result are batches,
    letters of both inputs alone are summed in the product, letters of one input alone are summed before it. An
    ellipsis stands for as many letters as a tensor has axes left. Of more than two tensors, the first two are
    multiplied, then the product and the third, and so on; a letter twice in one tensor is its diagonal.

    Left alone: an ellipsis that the result lacks; a letter twice in the result, or out of nowhere; shapes that are
    not static or have no elements; a letter that is one length here and another there.
    """

    name = "lower-einsum"
    op_types = ("Einsum",)
    produces = frozenset({"Gather", "Identity", "MatMul", "ReduceSum", "Reshape", "Transpose"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the product or the movement that the equation stands for."""
        equation = attribute(node, "equation", "").replace(" ", "")
        operands = [value for value in node.inputs if value is not None]
        read = read_equation(equation, [rank(value) for value in operands])
        if read is None:
            return Declined(f"the equation {equation!r} has an ellipsis not in its result, or other tensors")
        terms, result = read
        if len(set(result)) != len(result) or set(result) - set("".join(terms)):
            return Declined(f"the result of the equation {equation!r} has a letter twice, or one out of nowhere")
        sizes = _sizes(terms, operands)
        if isinstance(sizes, Declined):
            return sizes
        pending = [_diagonal(value, term, sizes, build) for value, term in zip(operands, terms, strict=True)]
        done = _summed(pending.pop(0), pending, result, build)
        while pending:
            factor = _summed(pending.pop(0), [done, *pending], result, build)
            done = _product(done, factor, result if not pending else _needed(result, pending), sizes, build)
        moved = _arranged(*done, result, build)
        return moved if moved is not x else build("Identity", x)


def _needed(result: str, pending: list[Term]) -> str:
    """Return the letters that the result and the tensors to come have."""
    return "".join(dict.fromkeys(result + "".join(term for _, term in pending)))


def _summed(tensor: Term, others: list[Term], result: str, build: Builder) -> Term:
    """Sum a tensor over the letters that neither another one nor the result has."""
    value, term = tensor
    return _without(value, term, set(term) - set(_needed(result, others)), build)


def _diagonal(value: Value, term: str, sizes: dict[str, int], build: Builder) -> Term:
    """Take the diagonal of axes with one letter."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first, second = [axis for axis, item in enumerate(term) if item == letter][:2]
            rest = [axis for axis in range(len(term)) if axis not in (first, second)]
            size = sizes[letter]
            value = build("Transpose", value, perm=[*rest, first, second])
            value = build("Reshape", value, build.integers(*(sizes[term[axis]] for axis in rest), size * size))
            value = build("Gather", value, build.integers(*(place * (size + 1) for place in range(size))), axis=-1)
            term = "".join(term[axis] for axis in rest) + letter
    return value, term


def _sizes(terms: list[str], operands: list[Value]) -> dict[str, int] | Declined:
    sizes: dict[str, int] = {}
    for term, value in zip(terms, operands, strict=True):
        shape = static_shape(value)
        if shape is None or len(shape) != len(term) or 0 in shape:
            return Declined(f"the shape of {value.name!r} is not static, has no elements or does not fit {term!r}")
        for letter, size in zip(term, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                return Declined(f"the letter {letter!r} is of length {sizes[letter]} here and {size} there")
    return sizes


def _without(value: Value, term: str, letters: set[str], build: Builder) -> Term:
    """Sum `value` over `letters` and return it with the letters that are left."""
    if not letters:
        return value, term
    axes = build.integers(*(axis for axis, letter in enumerate(term) if letter in letters))
    return build("ReduceSum", value, axes, keepdims=0), "".join(item for item in term if item not in letters)


def _arranged(value: Value, term: str, wanted: str, build: Builder) -> Value:
    return value if term == wanted else build("Transpose", value, perm=[term.index(letter) for letter in wanted])


def _product(left: Term, right: Term, kept: str, sizes: dict[str, int], build: Builder) -> Term:
    """Multiply two tensors, and sum over the letters of both that are not to be kept."""
    shared = [letter for letter in left[1] if letter in right[1]]
    batch = "".join(letter for letter in kept if letter in shared)
    inner = "".join(letter for letter in shared if letter not in kept)
    rows = "".join(letter for letter in kept if letter in left[1] and letter not in shared)
    columns = "".join(letter for letter in kept if letter in right[1] and letter not in shared)
    factors = [
        _shaped(_arranged(*left, batch + rows + inner, build), sizes, (batch, rows, inner), build),
        _shaped(_arranged(*right, batch + inner + columns, build), sizes, (batch, inner, columns), build),
    ]
    product, natural = build("MatMul", *factors), batch + rows + columns
    if (len(rows), len(columns)) != (1, 1):
        product = build("Reshape", product, build.integers(*(sizes[letter] for letter in natural)))
    return product, natural


def _shaped(value: Value, sizes: dict[str, int], groups: tuple[str, str, str], build: Builder) -> Value:
    """Make a matrix of the last two groups, each of which may be any number of letters."""
    if (len(groups[1]), len(groups[2])) == (1, 1):
        return value
    matrix = [math.prod(sizes[letter] for letter in group) for group in groups[1:]]
    return build("Reshape", value, build.integers(*(sizes[letter] for letter in groups[0]), *matrix))
