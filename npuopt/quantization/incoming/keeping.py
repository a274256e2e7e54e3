"""The encodings of a quantized model, put where a target wants them: nothing is chosen anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from npuopt.errors import UsageError
from npuopt.graph import is_constant, is_op, label
from npuopt.quantization.arithmetic import limits
from npuopt.quantization.assignment.wishes import Wishes
from npuopt.quantization.encodings import Encodings, per_tensor
from npuopt.quantization.incoming.held_constants import HeldConstants
from npuopt.quantization.incoming.quantized_model import bits_of
from npuopt.quantization.incoming.spreading import CHOOSES, followed, recast, spread
from npuopt.quantization.roles import data_inputs, is_float, role

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.encodings import Encoding
    from npuopt.quantization.incoming.quantized_model import Incoming
    from npuopt.target import Target
    from npuopt.target.schema import Scheme


@dataclass(frozen=True)
class Kept:
    """What became of a quantized model's encodings.

    Attributes:
        encodings: what to insert.
        integers: constants as the model held them, by name.
        by_rule: activations whose encoding follows from others.
        limits: what the integers held of tensors that are floats now, least and greatest number by name.
        unmatched: tensors that a file of encodings names and the model does not have.
        in_float: nodes with encodings around them that are computed in float all the same, and why.
    """

    encodings: Encodings
    integers: dict[str, np.ndarray] = field(default_factory=dict[str, "np.ndarray"])
    by_rule: tuple[str, ...] = ()
    limits: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    in_float: dict[str, str] = field(default_factory=dict[str, str])
    unmatched: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return what is printed and put on record."""
        return {
            "integers": len(self.integers),
            "by_rule": list(self.by_rule),
            "in_float": self.in_float,
            "unmatched": list(self.unmatched),
        }


def fitting_scheme(target: Target, incoming: Incoming) -> str | None:
    """Return the integer scheme of the target that has the model's bits, or as many more as need be; None without.

    Raises:
        UsageError: when the target has integer schemes, and none with the activations' bits.
    """
    schemes = {name: scheme for name, scheme in target.schemes.items() if scheme.is_integer}
    if not schemes or not incoming.activation_bits:
        return None
    fitting = {name: scheme for name, scheme in schemes.items() if _bits(scheme.activation) == incoming.activation_bits}
    if not fitting:
        raise UsageError(
            f"the model's activations have {incoming.activation_bits} bits, which no scheme of {target.name} has",
            hint=f"it has {', '.join(schemes)}; --requantize quantizes anew with calibration data",
        )
    return min(fitting, key=lambda name: _excess(fitting[name], incoming.weight_bits))


def kept_encodings(model: Model, target: Target, scheme: str, incoming: Incoming) -> Kept:
    """Put the incoming encodings where `target` wants them in the rewritten float model.

    A node is computed in integers when all its activations have an encoding (their own, or one that follows from
    others: what only moves or limits numbers) and its constants lie on a grid that the target takes. Signed and
    unsigned types of one width stand for the same steps and are exchanged as wanted; a bias gets the product of the
    scales that meet in it. Everything else is computed in float: without rounding, but within its integers' limits.

    Args:
        model: the float model as the target is to see it, with notes of its tensors' origins.
        target: says which nodes it computes in integers, and how.
        scheme: the scheme that nodes are computed in, where their encodings fit it.
        incoming: what the model came with.
    """
    return _Plan(model, target, scheme, incoming).result()


class _Plan:
    def __init__(self, model: Model, target: Target, scheme: str, incoming: Incoming) -> None:
        self._model = model
        self._target = target
        self._scheme = scheme
        self._incoming = incoming
        self._known = followed(model, incoming)
        spread(model, target, self._known)
        self._in_float: dict[str, str] = {}
        self._tensors: dict[str, Encoding] = {}
        self._uses: dict[str, dict[int, Encoding]] = {}
        self._constants = HeldConstants(incoming)

    def result(self) -> Kept:
        computed = {node: wish for node in self._model.graph if (wish := self._wish(node)) is not None}
        for node, wish in computed.items():
            for value in _outputs(node):
                self._tensors[value.name or ""] = self._made(wish, value)
        for node, wish in computed.items():
            self._read(node, wish)
        names = {value.name or "" for value in self._known.by_rule}
        precisions = {
            node.outputs[0].name or "": wish.scheme_name
            for node, wish in computed.items()
            if wish.scheme_name != self._scheme
        }
        encodings = Encodings(
            target=self._target.name,
            scheme=self._scheme,
            precisions=precisions,
            tensors=self._tensors,
            uses=self._uses,
        )
        twice = {value.name for node in computed for index, value in data_inputs(node) if self._is_use(node, index)}
        integers = {name: held for name, held in self._constants.integers.items() if name not in twice}
        by_rule = tuple(sorted(names & self._tensors.keys()))
        return Kept(encodings, integers, by_rule, self._limits(), self._in_float)

    def _limits(self) -> dict[str, tuple[float, float]]:
        """Return what the model's integers held of tensors that have no encoding any more."""
        known = self._known
        if self._incoming.of_floats:
            return {}
        return {
            value.name or "": encoding.range
            for value, encoding in known.own.items()
            if value not in known.by_rule and (value.name or "") not in self._tensors
        }

    def _wish(self, node: Node) -> Wishes | None:
        """Return how the target computes a node in integers, or None and a note where it is left in float."""
        rule = self._target.rule(node.op_type, node.domain)
        seen = list(self._activations(node))
        found = [encoding for _, encoding in seen if encoding is not None]
        if not found:
            return None
        why = ""
        missing = [value.name or "" for value, encoding in seen if encoding is None]
        if rule is None or rule.quantization.stays_float:
            why = f"{self._target.name} computes {node.op_type} in float"
        elif missing:
            why = f"{', '.join(missing)} has no encoding"
        else:
            wish, why = self._fitting(node, max(map(bits_of, found)))
            if wish is not None and not (why := self._constants.refusal(wish, self._operand)):
                return wish
        self._in_float[label(node)] = why
        return None

    def _activations(self, node: Node) -> Iterator[tuple[Value, Encoding | None]]:
        for index, value in data_inputs(node):
            if not is_constant(value):
                yield value, self._known.read(node, index, value)
        for value in _outputs(node):
            yield value, self._known.own.get(value)

    def _fitting(self, node: Node, bits: int) -> tuple[Wishes | None, str]:
        """Return the wishes of a node in the scheme that has its activations' bits, or why there is none."""
        rule = self._target.rule(node.op_type, node.domain)
        schemes = self._target.schemes
        names = [name for name in (rule.schemes if rule else ()) if schemes[name].is_integer]
        names.sort(key=lambda name: (name != self._scheme, _excess(schemes[name], self._incoming.weight_bits)))
        why = f"it is taken in no scheme of {bits} bits"
        for name in names:
            wish = Wishes(node, rule.quantization, name, schemes[name]) if rule is not None else None
            if wish is None or _bits(wish.activation) != bits:
                continue
            verdict = self._target.accepts(node, name)
            if not verdict:
                why = verdict.reasons[0]
            elif wish.scheme.activation_symmetric and not self._is_centred(node, wish):
                why = f"its zero points are not in the middle, as {name} wants them"
            else:
                return wish, ""
        return None, why

    def _is_centred(self, node: Node, wish: Wishes) -> bool:
        middle = (sum(limits(wish.activation)) + 1) // 2
        recasts = [recast(encoding, wish.activation) for _, encoding in self._activations(node) if encoding]
        return all(encoding is not None and encoding.zero_point == (middle,) for encoding in recasts)

    def _made(self, wish: Wishes, value: Value) -> Encoding:
        """Return the encoding in which a node makes its output."""
        if wish.output is not None:
            return per_tensor(wish.activation, wish.output.scale, wish.output.zero_point)
        if wish.moves and not is_op(wish.node, *CHOOSES):  # it computes something between its inputs
            index, first, _ = next(wish.inputs())
            return self._operand(wish, index, first)
        return cast("Encoding", recast(self._known.own[value], wish.activation))

    def _operand(self, wish: Wishes, index: int, value: Value) -> Encoding:
        """Return the encoding in which a node reads an activation."""
        if wish.moves and is_op(wish.node, *CHOOSES) and wish.node.outputs[0] in self._known.own:
            return cast("Encoding", recast(self._known.own[wish.node.outputs[0]], wish.activation))
        seen = cast("Encoding", self._known.read(wish.node, index, value))
        made = self._tensors.get(value.name or "")
        if made is not None and (wish.node, index) not in self._known.uses and made.dtype == wish.operand(index):
            return made  # which the target may have bound
        return recast(seen, wish.operand(index)) or cast("Encoding", recast(seen, wish.activation))

    def _read(self, node: Node, wish: Wishes) -> None:
        """Note how a node reads each of its inputs."""
        output = node.outputs[0].name or ""
        for index, value in data_inputs(node):
            if is_constant(value):
                wanted = self._constants.at(wish, index, value, role(node, index, wish.rule), self._operand)
            else:
                wanted = self._operand(wish, index, value)
            is_own = is_constant(value) or value in self._known.own
            own = self._tensors.setdefault(value.name or "", wanted) if is_own else None
            if own != wanted:
                self._uses.setdefault(output, {})[index] = wanted

    def _is_use(self, node: Node, index: int) -> bool:
        return index in self._uses.get(node.outputs[0].name or "", {})


def _outputs(node: Node) -> list[Value]:
    """List the float outputs that anybody reads."""
    return [value for value in node.outputs if is_float(value) and (value.uses() or value.is_graph_output())]


def _bits(dtype: str) -> int:
    smallest, largest = limits(cast("IntegerType", dtype))
    return (largest - smallest).bit_length()


def _excess(scheme: Scheme, weight_bits: int) -> tuple[bool, int]:
    """Return how badly a scheme's weights fit the bits of those that there are: too few is worse than too many."""
    spare = _bits(scheme.weight or scheme.activation) - (weight_bits or 8)
    return spare < 0, abs(spare)
