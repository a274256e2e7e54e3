from __future__ import annotations

import math
import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, rank, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

EQUATION = re.compile(r"([a-zA-Z]*)(?:,([a-zA-Z]*))?(?:->([a-zA-Z]*))?")
ELLIPSIS = "..."


@dataclass(frozen=True)
class LowerEinsum(FormulaLowering):
    """Einsum of one or two tensors becomes Transpose, ReduceSum, Reshape and MatMul.

    `Einsum<"bhid,bhjd->bhij">(q, k) -> MatMul(q, Transpose(k))`: letters of both inputs and the result are batches,
    letters of both inputs alone are summed in the product, letters of one input alone are summed before it. An
    ellipsis stands for as many letters as a tensor has axes left.

    Left alone: more than two tensors; an ellipsis that the result lacks; a letter twice in one tensor; shapes that
    are not static or have no elements; a letter that is one length here and another there.
    """

    name = "lower-einsum"
    op_types = ("Einsum",)
    produces = frozenset({"Identity", "MatMul", "ReduceSum", "Reshape", "Transpose"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the product or the movement that the equation stands for."""
        equation = attribute(node, "equation", "").replace(" ", "")
        operands = [value for value in node.inputs if value is not None]
        parsed = EQUATION.fullmatch(_spelled_out(equation, [rank(value) for value in operands]))
        if parsed is None or len(operands) != (2 if "," in equation else 1):
            return Declined(
                f"the equation {equation!r} has an ellipsis not in its result, or other than one or two tensors"
            )
        terms = [parsed[1], parsed[2] or ""][: len(operands)]
        result = parsed[3] if parsed[3] is not None else _implied("".join(terms))
        if any(len(set(term)) != len(term) for term in (*terms, result)) or set(result) - set("".join(terms)):
            return Declined(f"the equation {equation!r} has a letter twice in one tensor, or one out of nowhere")
        sizes = _sizes(terms, operands)
        if isinstance(sizes, Declined):
            return sizes
        summed = [
            _without(value, term, set(term) - set(result) - set("".join(terms).replace(term, "", 1)), build)
            for value, term in zip(operands, terms, strict=True)
        ]
        if len(summed) == 1:
            moved = _arranged(*summed[0], result, build)
            return moved if moved is not x else build("Identity", x)
        return _product(summed[0], summed[1], result, sizes, build)


def _spelled_out(equation: str, ranks: list[int | None]) -> str:
    """Write letters for an ellipsis, the same from the back for each tensor; or return the equation as it is."""
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    hidden = [
        depth - len(term.replace(ELLIPSIS, "")) if ELLIPSIS in term and depth is not None else 0
        for term, depth in zip(terms, ranks, strict=False)
    ]
    spare = [letter for letter in string.ascii_letters if letter not in equation]
    most = max(hidden, default=0)
    if ELLIPSIS not in left or min(hidden) < 0 or most > len(spare) or len(terms) != len(ranks):
        return equation
    if not arrow:
        result = ELLIPSIS + _implied(left.replace(ELLIPSIS, "").replace(",", ""))
    if most and ELLIPSIS not in result:
        return equation
    letters = "".join(spare[:most])
    ends = [letters[most - count :] for count in hidden]
    spelled = [term.replace(ELLIPSIS, end) for term, end in zip(terms, ends, strict=True)]
    return f"{','.join(spelled)}->{result.replace(ELLIPSIS, letters)}"


def _implied(letters: str) -> str:
    """Return the result's letters where the equation leaves them out: those that occur once, in order."""
    return "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))


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


def _without(value: Value, term: str, letters: set[str], build: Builder) -> tuple[Value, str]:
    """Sum `value` over `letters` and return it with the letters that are left."""
    if not letters:
        return value, term
    axes = build.integers(*(axis for axis, letter in enumerate(term) if letter in letters))
    return build("ReduceSum", value, axes, keepdims=0), "".join(item for item in term if item not in letters)


def _arranged(value: Value, term: str, wanted: str, build: Builder) -> Value:
    return value if term == wanted else build("Transpose", value, perm=[term.index(letter) for letter in wanted])


def _product(
    left: tuple[Value, str], right: tuple[Value, str], result: str, sizes: dict[str, int], build: Builder
) -> Value:
    shared = [letter for letter in left[1] if letter in right[1]]
    batch = "".join(letter for letter in result if letter in shared)
    inner = "".join(letter for letter in shared if letter not in result)
    rows = "".join(letter for letter in result if letter in left[1] and letter not in shared)
    columns = "".join(letter for letter in result if letter in right[1] and letter not in shared)
    factors = [
        _shaped(_arranged(*left, batch + rows + inner, build), sizes, (batch, rows, inner), build),
        _shaped(_arranged(*right, batch + inner + columns, build), sizes, (batch, inner, columns), build),
    ]
    product, natural = build("MatMul", *factors), batch + rows + columns
    if (len(rows), len(columns)) != (1, 1):
        product = build("Reshape", product, build.integers(*(sizes[letter] for letter in natural)))
    return _arranged(product, natural, result, build)


def _shaped(value: Value, sizes: dict[str, int], groups: tuple[str, str, str], build: Builder) -> Value:
    """Make a matrix of the last two groups, each of which may be any number of letters."""
    if (len(groups[1]), len(groups[2])) == (1, 1):
        return value
    matrix = [math.prod(sizes[letter] for letter in group) for group in groups[1:]]
    return build("Reshape", value, build.integers(*(sizes[letter] for letter in groups[0]), *matrix))
