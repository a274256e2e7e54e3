"""What holding activations as integers does to single nodes, all of them in one run of an instrumented graph.

Each node is computed a second time, from inputs that went through their integers; what it makes is compared with what
it makes in float, by the runtime, so that two numbers for each node leave it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from math import inf, log10
from typing import TYPE_CHECKING

from npuopt.graph import Editor, is_constant
from npuopt.graph.queries import STANDARD_DOMAINS
from npuopt.quantization.accuracy.held_activations import Rounding
from npuopt.quantization.calibration.taps import tapped_session

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.encodings import Encodings
    from npuopt.quantization.samples.data import Samples

SAMPLES = 4
"""Samples that are looked at: the order of nodes by their errors hardly depends on more."""


@dataclass(frozen=True)
class LocalErrors:
    """Signal to noise in dB, infinite where integers change nothing.

    Attributes:
        tensors: of activations as they are held, by name.
        nodes: of what a node makes from inputs as they are held, by the name of its first output; where that was asked
            for, as it is held itself.
    """

    tensors: dict[str, float] = field(default_factory=dict[str, float])
    nodes: dict[str, float] = field(default_factory=dict[str, float])


def local_errors(
    model: Model,
    encodings: Encodings,
    names: Iterable[str],
    samples: Samples,
    *,
    held: Collection[str] = (),
    threads: int = 0,
) -> LocalErrors:
    """Measure the nodes that make `names`, those of standard ops with one output, and the tensors that they read.

    Args:
        model: the float model; it comes back as it was.
        encodings: how each node reads its inputs.
        names: first outputs of nodes of the main graph.
        samples: the first few are run.
        held: those among the names that are themselves rounded before they are compared.
        threads: threads of the runtime, 0 for all cores.
    """
    instruments = _Instruments(model.clone(), encodings)
    for name in names:
        instruments.add(name, is_held=name in held)
    if not instruments.pairs:
        return LocalErrors()
    session = tapped_session(instruments.model, instruments.taps(), optimize=False, threads=threads)
    totals: dict[str, float] = {}
    for sample in islice(samples, SAMPLES):
        for name, array in session.run(sample).items():
            totals[name] = totals.get(name, 0.0) + float(array)
    return instruments.errors(totals)


class _Instruments:
    """A graph in which nodes are computed twice."""

    def __init__(self, model: Model, encodings: Encodings) -> None:
        self.model = model
        self.pairs: dict[tuple[str, str], tuple[Value, Value]] = {}
        self._encodings = encodings
        self._edit = Editor(model)
        self._makers = {node.outputs[0].name or "": node for node in model.graph}
        self._rounding = Rounding(model)

    def add(self, name: str, *, is_held: bool = False) -> None:
        """Compute the node that makes `name` a second time, from inputs as they are held, and hold it too if asked."""
        node = self._makers[name]
        if node.domain not in STANDARD_DOMAINS or len(node.outputs) != 1 or len(node.attributes) != _plain(node):
            return
        inputs = [self._as_held(name, index, value) for index, value in enumerate(node.inputs)]
        encoding = self._encodings.tensors.get(name) if is_held else None
        if encoding is None and all(new is old for new, old in zip(inputs, node.inputs, strict=True)):
            return
        again = self._edit.emit_after(node.op_type, inputs, dict(node.attributes), after=node)
        if encoding is not None and encoding.axis is None:
            again = self._rounding.rounded(again, encoding)
        self._compare("node", name, node.outputs[0], again)

    def taps(self) -> list[Value]:
        """Return what to look at."""
        return list(dict.fromkeys(value for pair in self.pairs.values() for value in pair))

    def errors(self, totals: dict[str, float]) -> LocalErrors:
        """Return the errors, given the sums of squares that were seen."""
        found = LocalErrors()
        for (kind, name), (signal, noise) in self.pairs.items():
            ratio = _decibels(totals[signal.name or ""], totals[noise.name or ""])
            (found.nodes if kind == "node" else found.tensors)[name] = ratio
        return found

    def _as_held(self, output: str, index: int, value: Value | None) -> Value | None:
        """Return the input as the node reads it from integers; as it is where it is constant or stays float."""
        if value is None or is_constant(value):
            return value
        encoding = self._encodings.read_by(output, index, value.name or "")
        if encoding is None or encoding.axis is not None:
            return value
        held = self._rounding.rounded(value, encoding)
        if ("tensor", value.name or "") not in self.pairs:
            self._compare("tensor", value.name or "", value, held)
        return held

    def _compare(self, kind: str, name: str, expected: Value, got: Value) -> None:
        """Let the graph sum up the squares of a tensor and of its error."""
        maker = _maker(got)
        difference = self._edit.emit_after("Sub", [got, expected], after=maker)
        whole = {"keepdims": 0}
        noise = self._edit.emit_after("ReduceSumSquare", [difference], whole, after=_maker(difference))
        signal = self._edit.emit_after("ReduceSumSquare", [expected], whole, after=maker)
        self.pairs[kind, name] = (signal, noise)


def _plain(node: Node) -> int:
    """Return how many of the node's attributes hold no graphs."""
    return sum(attribute.type.name not in ("GRAPH", "GRAPHS") for attribute in node.attributes.values())


def _maker(value: Value) -> Node:
    maker = value.producer()
    assert maker is not None, "it was just made"  # noqa: S101 -- for the type alone
    return maker


def _decibels(signal: float, noise: float) -> float:
    return 10 * (log10(signal) - log10(noise)) if signal > 0 and noise > 0 else inf if noise <= 0 else -inf
