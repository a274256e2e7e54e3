"""Finds a pattern of standard ops that ends at a node, whichever way round its commutative ops are written.

A pattern is built from nested records, from the last op back to its inputs:

    x = Anything("x")
    SWISH = Op("Mul", x, Op("Sigmoid", x))

The same name at two places must be the same value. `match` says where the pattern is; whether what lies inside it
may disappear is another question, `Match.exposed`, so that a pass can say why it left a pattern alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

from npuopt.graph.queries import element_type, is_constant, is_op, producer, scalar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import onnx_ir as ir

COMMUTATIVE = frozenset({"Add", "And", "Equal", "Max", "Min", "Mul", "Or", "Xor"})
SAME_OF_TWO = {"Sum": "Add"}
"""Ops that with two inputs are another one."""
CLOSE = {"FLOAT16": 1e-3, "BFLOAT16": 1e-2}
"""Relative error of a rounded constant, by element type; 1e-5 for all others, as exporters print few digits."""


@dataclass(frozen=True)
class Anything:
    """Any value; without a name, any value again."""

    name: str = ""


@dataclass(frozen=True)
class Constant:
    """A value known at compile time."""

    name: str = ""


@dataclass(frozen=True)
class Number:
    """A constant of a single element that is `value`, up to rounding; whatever its shape."""

    value: float


@dataclass(frozen=True)
class Op:
    """The output of a standard op that has exactly these operands; None is an operand left out.

    Attributes:
        op_type: the op's name.
        operands: patterns of its inputs; those of a commutative op in any order.
        name: under which the node is found in the match.
        attributes: values that the node must have, written out (None: absent); floats up to rounding.
        makers: op types of nodes that it can match.
    """

    op_type: str
    operands: tuple[Pattern | None, ...]
    name: str = ""
    attributes: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)
    makers: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    def __init__(self, op_type: str, *operands: Pattern | None, name: str = "", **attributes: object) -> None:
        object.__setattr__(self, "op_type", op_type)
        object.__setattr__(self, "operands", operands)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "attributes", attributes)
        same = (name for name, other in SAME_OF_TWO.items() if other == op_type)
        object.__setattr__(self, "makers", frozenset((op_type, *same)))


@dataclass(frozen=True)
class Either:
    """One of several patterns, the first that fits."""

    options: tuple[Pattern, ...]
    makers: frozenset[str] | None = field(default=None, compare=False, repr=False)
    """Op types of nodes that it can match; None where it can match more than what nodes make."""
    singles: tuple[Pattern, ...] = field(default=(), compare=False, repr=False)
    """The options, with those of an option that is a choice itself in its place."""
    fitting: Mapping[str, tuple[Pattern, ...]] = field(
        default_factory=dict[str, "tuple[Pattern, ...]"], compare=False, repr=False
    )
    """Op type -> those of `singles` that a value made by a node of this type may match."""
    others: tuple[Pattern, ...] = field(default=(), compare=False, repr=False)
    """Those of `singles` that any other value may match."""

    def __init__(self, *options: Pattern) -> None:
        object.__setattr__(self, "options", options)
        makers = [_makers(option) for option in options]
        known = [item for item in makers if item is not None]
        object.__setattr__(self, "makers", frozenset().union(*known) if len(known) == len(makers) else None)
        single = [item for option in options for item in (option.singles if isinstance(option, Either) else (option,))]
        types = {op_type for item in single for op_type in _makers(item) or ()}
        fitting = {op_type: tuple(item for item in single if op_type in (_makers(item) or types)) for op_type in types}
        object.__setattr__(self, "singles", tuple(single))
        object.__setattr__(self, "fitting", fitting)
        object.__setattr__(self, "others", tuple(item for item in single if _makers(item) is None))


Pattern = Anything | Constant | Number | Op | Either


def _makers(pattern: Pattern | None) -> frozenset[str] | None:
    return pattern.makers if isinstance(pattern, Op | Either) else None


@dataclass(frozen=True)
class Match:
    """Where a pattern was found.

    Attributes:
        root: the node that the pattern ends at.
        values: what the named values are.
        nodes: what the named ops are.
        interior: the matched nodes but the root.
    """

    root: ir.Node
    values: Mapping[str, ir.Value]
    nodes: Mapping[str, ir.Node]
    interior: tuple[ir.Node, ...]

    def exposed(self) -> str:
        """Say which interior value is seen from outside the pattern, or return an empty string."""
        inside = {self.root, *self.interior}
        for node in self.interior:
            for output in node.outputs:
                if output.is_graph_output():
                    return f"the inner value {output.name!r} is a graph output"
                if any(use.node not in inside for use in output.uses()):
                    return f"the inner value {output.name!r} is read elsewhere"
        return ""


class _Found(NamedTuple):
    """A partial match; never changed, so that a failed branch leaves no trace."""

    values: Mapping[str, ir.Value]
    nodes: Mapping[str, ir.Node]
    visited: tuple[ir.Node, ...]

    def bind(self, name: str, value: ir.Value) -> _Found | None:
        known = self.values.get(name)
        if known is not None or not name:
            return self if known is value or not name else None
        return _Found({**self.values, name: value}, self.nodes, self.visited)

    def visit(self, name: str, node: ir.Node) -> _Found:
        nodes = {**self.nodes, name: node} if name else self.nodes
        return _Found(self.values, nodes, self.visited if node in self.visited else (*self.visited, node))


NOTHING_FOUND = _Found({}, {}, ())


def may_occur(pattern: Pattern | None, op_types: Collection[str]) -> bool:
    """Say whether `pattern` may be in a graph that holds nodes of these types only."""
    if isinstance(pattern, Op):
        return not pattern.makers.isdisjoint(op_types) and all(may_occur(item, op_types) for item in pattern.operands)
    return not isinstance(pattern, Either) or any(may_occur(option, op_types) for option in pattern.options)


def match(pattern: Op | Either, node: ir.Node) -> Match | None:
    """Find `pattern` ending at `node`.

    Of several ways to read the graph as the pattern, one with nothing exposed is preferred.
    """
    first: Match | None = None
    for found in _at_node(pattern, node, NOTHING_FOUND):
        whole = Match(node, found.values, found.nodes, tuple(item for item in found.visited if item is not node))
        if not whole.exposed():
            return whole
        first = first or whole
    return first


def _at_node(pattern: Pattern, node: ir.Node, found: _Found) -> Iterator[_Found]:
    if isinstance(pattern, Either):
        for option in pattern.fitting.get(node.op_type, ()):
            yield from _at_node(option, node, found)
    elif isinstance(pattern, Op) and node.op_type in pattern.makers and is_op(node, node.op_type):
        inputs = _inputs(node)
        if len(inputs) != len(pattern.operands) or not _has(node, pattern.attributes):
            return
        if not _can_be_made(pattern, inputs):
            return
        orders = permutations(inputs) if pattern.op_type in COMMUTATIVE else [tuple(inputs)]
        for order in dict.fromkeys(orders):
            yield from _operands(pattern.operands, order, found.visit(pattern.name, node))


def _can_be_made(pattern: Op, inputs: Sequence[ir.Value | None]) -> bool:
    """Say whether each op among the operands has an input that such an op makes; cheap, and mostly the answer is no."""
    found: set[str] | None = None
    for operand in pattern.operands:
        wanted = _makers(operand)
        if wanted is None:
            continue
        if found is None:
            makers = (producer(value) for value in inputs)
            found = {maker.op_type for maker in makers if maker is not None}
        if wanted.isdisjoint(found):
            return False
    return True


def _inputs(node: ir.Node) -> list[ir.Value | None]:
    """Return the inputs without those that are left out at the end."""
    inputs = list(node.inputs)
    while inputs and inputs[-1] is None:
        inputs.pop()
    return inputs


def _operands(patterns: Sequence[Pattern | None], values: Sequence[ir.Value | None], found: _Found) -> Iterator[_Found]:
    if not patterns:
        yield found
        return
    for partial in _at_value(patterns[0], values[0], found):
        yield from _operands(patterns[1:], values[1:], partial)


def _at_value(pattern: Pattern | None, value: ir.Value | None, found: _Found) -> Iterator[_Found]:
    if pattern is None or value is None:
        if pattern is None and value is None:
            yield found
    elif isinstance(pattern, Either):
        node = value.producer()
        for option in pattern.others if node is None else pattern.fitting.get(node.op_type, pattern.others):
            yield from _at_value(option, value, found)
    elif isinstance(pattern, Op):
        node = producer(value)
        if node is not None and value is node.outputs[0]:
            yield from _at_node(pattern, node, found)
    else:
        bound = _bind(pattern, value, found)
        if bound is not None:
            yield bound


def _bind(pattern: Anything | Constant | Number, value: ir.Value, found: _Found) -> _Found | None:
    if isinstance(pattern, Number):
        return found if _is_number(value, pattern.value) else None
    if isinstance(pattern, Constant) and not is_constant(value):
        return None
    return found.bind(pattern.name, value)


def _is_number(value: ir.Value, number: float) -> bool:
    known = scalar(value)
    if known is None:
        return False
    close = CLOSE.get(getattr(element_type(value), "name", ""), 1e-5)
    return abs(known - number) <= close * abs(number)


def _has(node: ir.Node, wanted: Mapping[str, object]) -> bool:
    for name, value in wanted.items():
        attr = node.attributes.get(name)
        found = None if attr is None else attr.value
        if isinstance(value, float) and isinstance(found, float):
            if not math.isclose(value, found, rel_tol=1e-5):
                return False
        elif value != found:
            return False
    return True
