from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, Op, attribute, input_at, is_op, only_user, producer, rank
from npuopt.passes.fuse.sizes import may_broadcast, size_of
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target

EQUATION = re.compile(r"([a-zA-Z]{4}),([a-zA-Z]{4})->([a-zA-Z]{4})")
BETWEEN = ("Add", "Cast", "Div", "Mul", "Sub", "Tanh", "Where")
"""What may stand between scores and their softmax."""


@dataclass(frozen=True)
class FuseAttentionEinsum(NodePass):
    """Einsum ahead of a softmax or behind it becomes MatMul, so that attention is recognized.

    `Softmax(Einsum<"bihd,bjhd->bhij">(q, k)) -> Softmax(MatMul(Transpose<perm = [0, 2, 1, 3]>(q),
    Transpose<perm = [0, 2, 3, 1]>(k)))`; the product of weights and values likewise.

    Left alone: other Einsums; equations that are no product of matrices for two batch letters; sizes that are known to
    broadcast.
    """

    name = "fuse-attention-einsum"
    op_types = ("Einsum",)
    patterns = (Op("Softmax"),)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Write `node` as a product of matrices."""
        if not (_leads_to_softmax(node) or any(_is_softmax(value) for value in node.inputs)):
            return None
        equation = attribute(node, "equation", "").replace(" ", "")
        parsed = EQUATION.fullmatch(equation)
        factors = None if parsed is None else _factors(parsed[1], parsed[2], parsed[3])
        if parsed is None or factors is None:
            return Declined(f"the equation {equation!r} is no product of matrices in two batches")
        terms, result = dict(enumerate(parsed.groups()[:2])), parsed[3]
        sizes = [
            {letter: size_of(value, axis) for axis, letter in enumerate(terms[index])}
            for index, value in enumerate(node.inputs)
            if value is not None and rank(value) == 4
        ]
        if len(sizes) != 2 or any(
            may_broadcast(sizes[0][item], sizes[1][item]) for item in set(sizes[0]) & set(sizes[1])
        ):
            return Declined("its operands broadcast, or are of unknown rank")
        build = Builder(edit, node)
        product = build("MatMul", *(_arranged(node.inputs[at], terms[at], wanted, build) for at, wanted in factors))
        natural = factors[0][1][:3] + factors[1][1][3]
        edit.replace_node(node, _arranged(product, natural, result, build))
        return Changed(f"became {', '.join(build.emitted)}")


def _is_softmax(value: Value | None) -> bool:
    """Say whether a value holds attention weights, as they are, cast, or with NaN replaced."""
    for _ in range(2):
        node = producer(value)
        if node is None:
            return False
        if is_op(node, "Softmax"):
            return True
        if not is_op(node, "Cast", "Where"):
            return False
        value = input_at(node, 2 if node.op_type == "Where" else 0)
    return False


def _leads_to_softmax(node: Node) -> bool:
    """Say whether nothing but scaling and masking lies between `node` and a softmax."""
    user = only_user(node.outputs[0])
    for _ in range(8):
        if user is None or is_op(user, "Softmax"):
            return user is not None
        if not is_op(user, *BETWEEN):
            return False
        user = only_user(user.outputs[0])
    return False


def _factors(left: str, right: str, result: str) -> list[tuple[int, str]] | None:
    """Return which operands are the product's, and in which order of letters; None where it is no such product."""
    if any(len(set(term)) != 4 for term in (left, right, result)):
        return None
    batch = "".join(letter for letter in result if letter in left and letter in right)
    inner = [letter for letter in left if letter in right and letter not in result]
    outer = [letter for letter in result if letter not in batch]
    if (len(batch), len(inner), len(outer)) != (2, 1, 2) or set(left + right) != {*result, *inner}:
        return None
    first = 0 if outer[0] in left else 1
    if outer[1] in (left, right)[first]:
        return None
    return [(first, batch + outer[0] + inner[0]), (1 - first, batch + inner[0] + outer[1])]


def _arranged(value: Value | None, term: str, wanted: str, build: Builder) -> Value:
    assert value is not None  # noqa: S101 -- its rank was asked for
    return value if term == wanted else build("Transpose", value, perm=[term.index(letter) for letter in wanted])
