"""Which nodes of a model a target computes in integers, and what each wants its tensors to be."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from npuopt.graph import is_op
from npuopt.quantization.roles import data_inputs, is_float, role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.roles import Role
    from npuopt.target import Target
    from npuopt.target.schema import FixedEncoding, OpQuantization, OpRule, Scheme

ONE_FOR_ALL: Mapping[str, str] = MappingProxyType({})
"""No node is computed otherwise than the model."""


@dataclass(frozen=True)
class Wishes:
    """What one node wants when it is computed in integers.

    Attributes:
        node: the node.
        rule: how its op wants its tensors quantized.
        scheme_name: the scheme that it is computed in.
        scheme: what that scheme says.
        carries: element types of activations in which the target takes it, where it may be one that only moves numbers.
    """

    node: Node
    rule: OpQuantization
    scheme_name: str
    scheme: Scheme
    carries: frozenset[IntegerType] = frozenset()

    @property
    def activation(self) -> IntegerType:
        """Element type of its activations."""
        return cast("IntegerType", self.rule.activation.get(self.scheme_name, self.scheme.activation))

    def operand(self, index: int) -> IntegerType:
        """Element type of the activation at input `index`."""
        own = self.rule.inputs.get(index, {}).get(self.scheme_name)
        return self.activation if own is None else cast("IntegerType", own)

    @property
    def moves(self) -> bool:
        """Say whether all its tensors have one encoding."""
        return self.rule.share

    @property
    def output(self) -> FixedEncoding | None:
        """The encoding that its output is bound to."""
        return self.rule.output.get(self.scheme_name)

    def inputs(self) -> Iterator[tuple[int, Value, Role]]:
        """Yield its float data inputs with their roles."""
        for index, value in data_inputs(self.node):
            yield index, value, role(self.node, index, self.rule)

    def outputs(self) -> Iterator[Value]:
        """Yield its float outputs."""
        yield from (value for value in self.node.outputs if value.name and is_float(value))


def wishes_of(
    model: Model, target: Target, scheme_name: str, precisions: Mapping[str, str] = ONE_FOR_ALL
) -> dict[Node, Wishes]:
    """Find the nodes of the main graph that the target computes in integers, and their wishes.

    Left in float: ops without a rule or that the rule keeps in float, nodes whose scheme is a float one or in which
    the target refuses them, nodes without float data, what quantizes already, and everything inside subgraphs.

    Args:
        model: the float model.
        target: decides about each node.
        scheme_name: what nodes are computed in.
        precisions: the scheme of nodes that are computed in another, by the name of their first output.
    """
    found: dict[Node, Wishes] = {}
    for node in model.graph:
        own = precisions.get(node.outputs[0].name or "", scheme_name)
        scheme = target.scheme(own)
        rule = target.rule(node.op_type, node.domain)
        if scheme.is_float or rule is None or rule.quantization.stays_float or own not in rule.schemes:
            continue
        if is_op(node, "QuantizeLinear", "DequantizeLinear"):
            continue
        if not data_inputs(node) and not any(is_float(value) for value in node.outputs):
            continue
        if target.accepts(node, own):
            found[node] = Wishes(node, rule.quantization, own, scheme, _carried(node, rule, target))
    return found


def _carried(node: Node, rule: OpRule, target: Target) -> frozenset[IntegerType]:
    """Return the activation types in which the target takes a node that may only move numbers; of others, none."""
    if not rule.quantization.share and not is_op(node, "Concat"):
        return frozenset()
    integer = [name for name in rule.schemes if target.scheme(name).is_integer and target.accepts(node, name)]
    types = (rule.quantization.activation.get(name, target.scheme(name).activation) for name in integer)
    return frozenset(cast("IntegerType", name) for name in types)
