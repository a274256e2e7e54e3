"""The rules of a descriptor, compiled once and asked often: which reasons speak against taking a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import dims, is_constant, rank
from npuopt.target.checks import Check, compile_condition, not_static
from npuopt.target.constraints import ConstantConstraint, parse_place
from npuopt.target.quantized import QuantizedNode
from npuopt.target.target import STANDARD_DOMAINS
from npuopt.target.views import describe, form_of, is_float, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Node, Value
    from npuopt.target.schema import Descriptor, OpRule


class RuleBook:
    """All rules of one descriptor."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self._rules: dict[str, CompiledRule] = {}

    def reasons(self, node: Node, scheme: str | None) -> list[str]:
        """List every reason why the chip's compiler does not take `node` computed in `scheme`."""
        name = node.op_type if node.domain in STANDARD_DOMAINS else f"{node.domain}::{node.op_type}"
        rule = self.descriptor.ops.get(name)
        if rule is None:
            return [f"{name} is not among the ops that {self.descriptor.name} takes"]
        if rule.refused is not None:
            return [f"{self.descriptor.name} does not take {name}: {rule.refused}"]
        if name not in self._rules:
            self._rules[name] = CompiledRule(name, rule, self.descriptor)
        return list(dict.fromkeys(self._rules[name].reasons(node, scheme)))


class CompiledRule:
    """When one op is taken."""

    def __init__(self, name: str, rule: OpRule, descriptor: Descriptor) -> None:
        self.name = name
        self.rule = rule
        self.descriptor = descriptor
        self.checks: list[tuple[tuple[str, ...] | None, Check]] = [
            (condition.schemes, compile_condition(condition)) for condition in rule.when
        ]
        self.untyped = {
            index
            for condition in rule.when
            if isinstance(condition, ConstantConstraint) and condition.if_ is None and condition.schemes is None
            for side, index in [parse_place(condition.constant)]
            if side == "input"
        }
        schemes = descriptor.schemes
        plain = [one for one, scheme in schemes.items() if scheme.is_float and not scheme.is_weight_only]
        self.float_scheme = next((one for one in rule.schemes if one in plain), None)
        self.first_scheme = next(iter((*plain, *schemes)))

    def reasons(self, node: Node, scheme: str | None) -> Iterator[str]:
        """Yield every reason against the node."""
        yield from self._shapes(node)
        typed = list(self._typed_values(node))
        chosen: str | None = None
        if any(is_float(value) for _, _, _, value in typed):
            chosen, faults = self._choose_scheme(node, scheme)
            yield from faults
        yield from self._types(typed, chosen)
        for schemes, check in self.checks:
            if schemes is None or chosen in schemes:
                yield from check(node)

    def _shapes(self, node: Node) -> Iterator[str]:
        shapes = self.descriptor.shapes
        bounds = self.rule.rank
        for side, position, value in _values(node):
            if is_constant(value):
                continue
            where = describe(side, position, value)
            if shapes.static == "required" and (fault := not_static(where, value)):
                yield f"{fault}; static shapes are needed"
            least = min((dim for dim in dims(value) or () if isinstance(dim, int)), default=None)
            if least is not None and shapes.min_dim is not None and least < shapes.min_dim:
                yield f"a dimension of {where} is {least}; at least {shapes.min_dim} is taken"
            given = rank(value)
            if given is not None and shapes.max_rank is not None and given > shapes.max_rank:
                yield f"rank of {where} is {given}; at most {shapes.max_rank} is taken"
            if bounds is not None and side == "input" and position == 0:
                if given is None:
                    yield f"{where} has no known rank"
                elif not bounds[0] <= given <= bounds[1]:
                    yield f"rank of {where} is {given}; {self.name} is taken from {bounds[0]} to {bounds[1]}"

    def _typed_values(self, node: Node) -> Iterator[tuple[str, int, tuple[str, ...] | None, Value]]:
        """Yield the values whose type matters, with the types listed for their position.

        A constant of a position that must be constant is the compiler's own business, unless types are listed for it.
        """
        dtypes = self.rule.dtypes
        for side, position, value in _values(node):
            if side == "output" and not value.uses() and not value.is_graph_output() and position > 0:
                continue
            listed = dtypes.inputs if side == "input" else dtypes.outputs
            own = listed.get(position)
            exempt = side == "input" and (position in self.untyped or None in self.untyped)
            if own is None and exempt:
                continue
            yield side, position, own if own is not None else listed.get("all"), value

    def _types(self, typed: list[tuple[str, int, tuple[str, ...] | None, Value]], chosen: str | None) -> Iterator[str]:
        schemes = self.descriptor.schemes
        float_types = schemes[chosen].tensor_types if chosen is not None else ()
        for side, position, listed, value in typed:
            given = type_name(value)
            if given is None:
                yield f"{describe(side, position, value)} has no known element type"
            elif is_float(value):
                if chosen is not None and given not in float_types and given not in (listed or ()):
                    wanted = ", ".join(dict.fromkeys((*float_types, *(listed or ()))))
                    yield f"type of {describe(side, position, value)} is {given}; {wanted} is taken in {chosen}"
            elif given not in (listed or ()):
                wanted = f"{', '.join(listed)} is taken" if listed else "only float data is taken there"
                yield f"type of {describe(side, position, value)} is {given}; {wanted}"

    def _choose_scheme(self, node: Node, asked: str | None) -> tuple[str | None, list[str]]:
        """Return the scheme that the node is, or would be, computed in, and what speaks against it."""
        form = form_of(node)
        asked = asked or self.first_scheme
        stays_float = self.rule.quantization.stays_float
        if form == "quantized" and not stays_float:
            return self._quantized_scheme(node, asked)
        quantized_asked = not self.descriptor.schemes[asked].is_float
        if form != "plain" or (quantized_asked and stays_float):
            if self.float_scheme is None:
                return None, [self._fault("left in float")]
            return self.float_scheme, []
        if asked not in self.rule.schemes:
            if not self.rule.schemes:
                return None, [self._fault("in float")]
            return None, [f"{self.name} is not taken in {asked}, only in {', '.join(self.rule.schemes)}"]
        return asked, []

    def _quantized_scheme(self, node: Node, asked: str) -> tuple[str | None, list[str]]:
        """Find the scheme whose types the node's QuantizeLinear and DequantizeLinear have, the asked one first."""
        schemes = self.descriptor.schemes
        candidates = [name for name in self.rule.schemes if not schemes[name].is_float]
        candidates.sort(key=lambda name: name != asked)
        if not candidates:
            ranks, given = self.rule.quantization.between, rank(node.inputs[0]) if node.inputs else None
            takes_it = ranks is not None and given is not None and ranks[0] <= given <= ranks[1]
            return (self.float_scheme, []) if takes_it else (None, [self._fault("quantized")])
        seen = QuantizedNode(node, self.rule.quantization)
        faults = {name: list(seen.faults(name, schemes[name])) for name in candidates}
        fitting = next((name for name, wrong in faults.items() if not wrong), None)
        return (fitting, []) if fitting is not None else (candidates[0], faults[candidates[0]])

    def _fault(self, given: str) -> str:
        """Say that the node is `given`, and what is taken instead."""
        if self.rule.schemes:
            return f"{self.name} is {given} here; it is taken in {', '.join(self.rule.schemes)} only"
        kinds = dict.fromkeys(kind for listed in self.rule.dtypes.inputs.values() for kind in listed)
        return f"{self.name} has float data here; it is taken with {', '.join(kinds)} only"


def _values(node: Node) -> Iterator[tuple[str, int, Value]]:
    for position, value in enumerate(node.inputs):
        if value is not None:
            yield "input", position, value
    for position, value in enumerate(node.outputs):
        if value.name != "":
            yield "output", position, value
