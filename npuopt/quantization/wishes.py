"""Which nodes of a model a target computes in integers, and what each wants its tensors to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from npuopt.quantization.roles import data_inputs, is_float, role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.roles import Role
    from npuopt.target import Target
    from npuopt.target.schema import FixedEncoding, OpQuantization, Scheme


@dataclass(frozen=True)
class Wishes:
    """What one node wants when it is computed in integers."""

    node: Node
    rule: OpQuantization
    scheme_name: str
    scheme: Scheme

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


def wishes_of(model: Model, target: Target, scheme_name: str) -> dict[Node, Wishes]:
    """Find the nodes of the main graph that the target computes in integers, and their wishes.

    Left in float: ops without a rule or that the rule keeps in float, nodes that the target refuses in the scheme,
    nodes without float data, and everything inside subgraphs.
    """
    scheme = target.scheme(scheme_name)
    found: dict[Node, Wishes] = {}
    for node in model.graph:
        rule = target.rule(node.op_type, node.domain)
        if rule is None or rule.quantization.stays_float or scheme_name not in rule.schemes:
            continue
        if not data_inputs(node) and not any(is_float(value) for value in node.outputs):
            continue
        if target.accepts(node, scheme_name):
            found[node] = Wishes(node, rule.quantization, scheme_name, scheme)
    return found
