"""What each scheme costs at each node and how noisy it makes the outputs, for the search to choose by."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from npuopt.errors import UsageError
from npuopt.graph import is_constant, static_shape
from npuopt.partition.macs import macs
from npuopt.quantization.accuracy.probe import CARRYING
from npuopt.quantization.accuracy.search import Choice, Option
from npuopt.quantization.accuracy.sensitivity import decibels, layer_errors
from npuopt.quantization.arithmetic import limits
from npuopt.quantization.rounding.round_weights import with_corrections
from npuopt.road.sensing import EFFECT_SAMPLES, Unquantized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization import Encodings
    from npuopt.quantization.accuracy.search import Assignment
    from npuopt.quantization.accuracy.sensitivity import LayerError
    from npuopt.quantization.samples.data import Samples
    from npuopt.quantization.steps import Held, StepRecord, Work
    from npuopt.road.options import Say
    from npuopt.target.schema import Scheme

    Arrays = dict[str, np.ndarray]
    Build = Callable[[Mapping[str, str], Samples | None], tuple[Held, list[StepRecord]]]
    Mix = Callable[[Work, Build, Sequence[Arrays], Say], "Choices"]

FEW = 128
"""Calibration samples by which weights are rounded for an assignment that is only tried: the work grows with them."""

OWN_SAMPLES = 8
"""Samples that each scheme's own errors are measured on."""

MACS_PER_BYTE = 64
"""Multiply-adds of 8 by 8 bits that take as long as moving a byte, for estimates: accelerators do tens to hundreds.
Of 16 by 8 bits, half as many. What counts is only which assignment is faster, not by how much."""

IN_THE_WAY = 3
"""Layers that are named when a bound cannot be reached."""


class Choices(Protocol):
    """What a search chooses among, and what its choices come to."""

    choices: list[Choice]

    def quantized(self, held: Held) -> Model:
        """Return the quantized model."""
        ...

    def precisions(self, assignment: Assignment) -> dict[str, str]:
        """Name the nodes that differ from the model's scheme."""
        ...

    def counts(self, precisions: Mapping[str, str]) -> dict[str, int]:
        """Count the layers of each scheme."""
        ...

    def in_the_way(self, assignment: Assignment, outputs: Sequence[str]) -> tuple[str, str]:
        """Say what was tried where a bound is out of reach, and what to do."""
        ...


class Mixing:
    """The choices of a search, with their figures.

    Attributes:
        choices: the layers that can be computed in more than one scheme.
    """

    def __init__(self, work: Work, build: Build, samples: Sequence[Arrays], say: Say) -> None:
        self._work = work
        few = None if work.samples is None else work.samples.first(FEW)
        self._nodes = {node.outputs[0].name or "": node for node in work.model.graph}
        self._allowed = integer_choices(work)
        if not any(len(schemes) > 1 for schemes in self._allowed.values()):
            raise UsageError(f"{work.target.name} leaves no node a choice between integer schemes")
        names = list(dict.fromkeys(scheme for schemes in self._allowed.values() for scheme in schemes))
        self._held: dict[str, Encodings] = {}
        self._own: dict[str, dict[str, LayerError]] = {}
        names.sort(key=lambda name: name != work.scheme)
        for scheme in names:
            say(f"measuring {scheme} layer by layer")
            everywhere = {name: scheme for name, schemes in self._allowed.items() if scheme in schemes}
            held, _ = build({**work.precisions, **everywhere}, few)
            before = unquantized(self._work.model, held)
            is_first = scheme == names[0]
            found = layer_errors(
                before.model,
                before.encodings,
                before.insert,
                samples[:OWN_SAMPLES],
                effects_on=samples[:EFFECT_SAMPLES] if is_first else (),
            )
            self._held[scheme] = before.encodings
            self._own[scheme] = {error.name: error for error in found}
        self._gains = {name: _gains(error) for name, error in self._own[names[0]].items()}
        self.choices = [self._choice(name) for name in self._allowed if name in self._gains]

    def quantized(self, held: Held) -> Model:
        """Return the quantized model."""
        return unquantized(self._work.model, held).quantized()

    def precisions(self, assignment: Assignment) -> dict[str, str]:
        """Name the layers that differ from the model's scheme."""
        return {name: scheme for name, scheme in assignment.schemes.items() if scheme != self._work.scheme}

    def counts(self, precisions: Mapping[str, str]) -> dict[str, int]:
        """Count the layers of each scheme."""
        return dict(Counter(precisions.get(choice.name, self._work.scheme) for choice in self.choices))

    def in_the_way(self, assignment: Assignment, outputs: Sequence[str]) -> tuple[str, str]:
        """Say what was tried, and which layers are noisiest at the output that suffers most."""
        lines: list[tuple[str, str, float]] = []
        for choice in self.choices:
            option = next(one for one in choice.options if one.scheme == assignment.schemes.get(choice.name))
            lines.append((choice.name, option.scheme, max(option.noise.get(output, 0.0) for output in outputs)))
        worst = sorted(lines, key=lambda line: -line[2])[:IN_THE_WAY]
        layers = ", ".join(f"{name} ({scheme}, {decibels(noise):.1f} dB)" for name, scheme, noise in worst)
        return "the best assignment found has", f"in the way: {layers}"

    def _choice(self, name: str) -> Choice:
        node = self._nodes[name]
        options = tuple(self._option(name, node, scheme) for scheme in self._allowed[name])
        size = elements(node.outputs[0])
        narrow = min(options, key=lambda option: option.width)
        wide = max(options, key=lambda option: option.width)
        rounding = {out: max(noise - wide.noise.get(out, 0.0), 0.0) for out, noise in narrow.noise.items()}
        read_by = tuple(dict.fromkeys(readers(node.outputs[0])))
        return Choice(name, options, read_by, rounding, 2.0 * size)

    def _option(self, name: str, node: Node, scheme: str) -> Option:
        noise = self._noise(name, scheme)
        for value in node.inputs:
            begins = None if value is None else source(value)
            if begins is not None and begins.producer() is None and next(iter(readers(begins)), "") == name:
                for out, one in self._noise(begins.name or "", scheme).items():
                    noise[out] = noise.get(out, 0.0) + one
        held = self._held[scheme]
        activations = [value for value in (*node.inputs, *node.outputs) if value is not None and not is_constant(value)]
        moved = sum(elements(value) for value in activations) * _bits(self._work.target.scheme(scheme).activation) / 8
        weights, width = 0.0, 8
        for index, value in enumerate(node.inputs):
            encoding = None if value is None else held.read_by(name, index, value.name or "")
            if value is not None and encoding is not None and is_constant(value):
                weights += elements(value) * _bits(encoding.dtype) / 8 + 4 * len(encoding.scale)
                width = max(_bits(encoding.dtype), 8) if index in (1, 2) and encoding.dtype != "int32" else width
        bits = _bits(self._work.target.scheme(scheme).activation)
        time = moved + weights + macs(node) * bits / 8 * width / 8 / MACS_PER_BYTE
        return Option(scheme, bits, noise, time, weights)

    def _noise(self, name: str, scheme: str) -> dict[str, float]:
        """Return the noise at each output: the layer's own error times what the model makes of it."""
        error = self._own[scheme].get(name)
        return {} if error is None else {out: error.own_noise * gain for out, gain in self._gains.get(name, {}).items()}


def integer_choices(work: Work) -> dict[str, list[str]]:
    """List for each node that rounds the integer schemes that it can have, without those that come to the same.

    Args:
        work: its precisions are those of nodes that are not to be touched.
    """
    target = work.target
    found: dict[str, list[str]] = {}
    integer = {name: one for name, one in target.schemes.items() if one.is_integer}
    for node in work.model.graph:
        name = node.outputs[0].name or ""
        rule = target.rule(node.op_type, node.domain)
        if rule is None or name in work.precisions or rule.quantization.stays_float or node.op_type in CARRYING:
            continue
        taken = {scheme: one for scheme, one in integer.items() if scheme in rule.schemes}
        weighted = any(
            is_constant(value) for index in rule.quantization.weights for value in node.inputs[index : index + 1]
        )
        kinds: dict[tuple[str, ...], str] = {}
        for scheme, one in sorted(taken.items(), key=lambda item: item[0] != work.scheme):
            kind = (one.activation, *((_weight(one),) if weighted else ()))
            if kind not in kinds and target.accepts(node, scheme):
                kinds[kind] = scheme
        if kinds:
            found[name] = list(kinds.values())
    return found


def unquantized(model: Model, held: Held) -> Unquantized:
    """Return the float model with how it is held, weights as they were rounded."""
    integers = {layer.weight: layer.integers for layer in held.rounded.values()}
    return Unquantized(model, with_corrections(held.encodings, held.rounded), integers)


def _gains(error: LayerError) -> dict[str, float]:
    """Return the noise at each output for each unit of the layer's own; 1 where there was none to see it by."""
    return {out: noise / error.own_noise if error.own_noise else 1.0 for out, noise in error.at_outputs.items()}


def readers(value: Value) -> Iterator[str]:
    """Yield what is made from `value`, through ops that only move it."""
    for use in value.uses():
        made = use.node.outputs[0]
        if use.node.op_type in CARRYING:
            for output in use.node.outputs:
                yield from readers(output)
        else:
            yield made.name or ""


def source(value: Value) -> Value:
    """Return what `value` was moved from."""
    node = value.producer()
    while node is not None and node.op_type in CARRYING and node.inputs and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def elements(value: Value) -> int:
    """Return the number of elements; 1 where the shape is not static."""
    shape = static_shape(value) or ()
    size = 1
    for dim in shape:
        size *= dim
    return size


def _weight(scheme: Scheme) -> str:
    return scheme.weight or scheme.activation


def _bits(dtype: str) -> int:
    smallest, largest = limits(dtype)  # pyright: ignore[reportArgumentType] -- descriptors and encodings name integer types here
    return (largest - smallest).bit_length()
