"""A target as passes, partition and delegates see it: facts, and questions with reasoned answers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from npuopt.errors import UsageError
from npuopt.target.diagnostics import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    import onnx_ir as ir

    from npuopt.target.memory import Memory
    from npuopt.target.performance import Performance
    from npuopt.target.roads import Delegate
    from npuopt.target.rules import RuleBook
    from npuopt.target.schema import Descriptor, OpRule, Scheme, Shapes

STANDARD_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Verdict:
    """Yes, or every reason why not."""

    reasons: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Say whether the answer is yes."""
        return not self.reasons


@dataclass(frozen=True)
class Target:
    """One chip, as its descriptor says."""

    descriptor: Descriptor

    @classmethod
    def of(cls, descriptor: Descriptor, without_schemes: AbstractSet[str] = frozenset()) -> Target:
        """Make a target whose rules name no scheme of `without_schemes` (a family's, which this chip lacks)."""
        if not without_schemes:
            return cls(descriptor)
        ops = {name: _without(rule, without_schemes) for name, rule in descriptor.ops.items()}
        return cls(descriptor.model_copy(update={"ops": ops}))

    @property
    def name(self) -> str:
        """The id, such as `qualcomm/sm8750`."""
        return self.descriptor.name

    @property
    def title(self) -> str:
        """The chip's name for people."""
        return self.descriptor.title

    @property
    def delegate(self) -> Delegate:
        """Which vendor road compiles for it, with that road's settings."""
        return self.descriptor.delegate

    @property
    def shapes(self) -> Shapes:
        """What is asked of every tensor."""
        return self.descriptor.shapes

    @property
    def memory(self) -> Memory:
        """On-chip memory."""
        return self.descriptor.memory

    @property
    def schemes(self) -> Mapping[str, Scheme]:
        """What may be computed in what, by name."""
        return self.descriptor.schemes

    @property
    def ops(self) -> Mapping[str, OpRule]:
        """When each op is taken, by `op_type` or `domain::op_type`."""
        return self.descriptor.ops

    @property
    def performance(self) -> Performance:
        """Figures for estimates."""
        return self.descriptor.performance

    @property
    def float_scheme(self) -> str | None:
        """Name of the first scheme that needs no quantization, or None where all do."""
        return next((name for name, one in self.schemes.items() if one.is_float and not one.is_weight_only), None)

    @property
    def integer_scheme(self) -> str | None:
        """Name of the integer scheme with the widest activations, then weights, of those that need no asking for."""

        def bits(name: str) -> tuple[int, int]:
            scheme = self.schemes[name]
            return _bits(scheme.activation), _bits(scheme.weight or scheme.activation)

        found = (name for name, one in self.schemes.items() if one.is_integer and one.automatic)
        return max(found, key=bits, default=None)

    def beside(self, scheme: str | None) -> str | None:
        """Return the scheme of what the chip does not take in `scheme`, or None where that is nothing.

        That is its float scheme. Of a chip that has none, an integer scheme that needs asking for has the one beside
        it that the chip is made for.
        """
        if self.float_scheme is not None or scheme is None or self.schemes[scheme].automatic:
            return None if self.float_scheme == scheme else self.float_scheme
        return self.integer_scheme

    def computed_in(self, scheme: str) -> str:
        """Return the scheme that decides what the chip takes: for weight-only ones the float scheme beneath.

        Raises:
            UsageError: the target has none of this name.
        """
        asked = self.scheme(scheme)
        if not asked.is_weight_only:
            return scheme
        plain = (name for name, one in self.schemes.items() if one.is_float and not one.is_weight_only)
        return next((name for name in plain if self.schemes[name].activation == asked.activation), scheme)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all facts, in hex: equal for two files that say the same."""
        facts = self.descriptor.model_dump(mode="json", by_alias=True)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def scheme(self, name: str) -> Scheme:
        """Return the scheme called `name`.

        Raises:
            UsageError: the target has none of this name.
        """
        if name not in self.schemes:
            hint = f"it has {', '.join(self.schemes)}"
            raise UsageError(f"{self.name} has no scheme {name!r}{did_you_mean(name, self.schemes)}", hint=hint)
        return self.schemes[name]

    def rule(self, op_type: str, domain: str = "") -> OpRule | None:
        """Return the rule of an op, or None where the descriptor does not have the op."""
        return self.ops.get(op_type if domain in STANDARD_DOMAINS else f"{domain}::{op_type}")

    def accepts(self, node: ir.Node, scheme: str | None = None) -> Verdict:
        """Say whether the chip's compiler takes `node` computed in `scheme`, else every reason why not.

        Types and shapes must be known. A node between DequantizeLinear and QuantizeLinear is judged as it is
        quantized; one with neither is judged as if all its float tensors were computed in `scheme`. One with only
        some of them is computed in float.

        Args:
            node: a node of a graph, or alone with typed inputs and outputs.
            scheme: None for the target's float scheme (where it has none, its first). It does not matter for nodes
                without float data.

        Raises:
            UsageError: the target has no such scheme.
        """
        if scheme is not None:
            self.scheme(scheme)
        return Verdict(tuple(self._rule_book.reasons(node, scheme)))

    @cached_property
    def _rule_book(self) -> RuleBook:
        from npuopt.target.rules import RuleBook  # noqa: PLC0415 -- imports onnx-ir; facts alone do not need it

        return RuleBook(self.descriptor)


def _without(rule: OpRule, removed: AbstractSet[str]) -> OpRule:
    """Drop from a rule what it says about removed schemes."""
    conditions = tuple(
        one if one.schemes is None else one.model_copy(update={"schemes": _kept(one.schemes, removed)})
        for one in rule.when
        if one.schemes is None or _kept(one.schemes, removed)
    )
    quantization = rule.quantization.model_copy(
        update={
            "activation": {name: kind for name, kind in rule.quantization.activation.items() if name not in removed},
            "weight_types": {
                name: kinds for name, kinds in rule.quantization.weight_types.items() if name not in removed
            },
            "inputs": {
                position: {name: kind for name, kind in by_scheme.items() if name not in removed}
                for position, by_scheme in rule.quantization.inputs.items()
            },
            "output": {name: fixed for name, fixed in rule.quantization.output.items() if name not in removed},
        }
    )
    schemes = _kept(rule.schemes, removed)
    if rule.schemes and not schemes and not rule.dtypes.inputs and not rule.dtypes.outputs:
        return rule.model_copy(update={"schemes": (), "when": (), "refused": _lacks(rule.schemes)})
    return rule.model_copy(update={"schemes": schemes, "when": conditions, "quantization": quantization})


def _lacks(schemes: tuple[str, ...]) -> str:
    return f"the family computes it in {' and '.join(schemes)} only, which this chip does not have"


def _kept(names: tuple[str, ...], removed: AbstractSet[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in removed)


def _bits(dtype: str) -> int:
    return int("".join(letter for letter in dtype if letter.isdigit()) or 0)
