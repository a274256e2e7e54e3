"""Which nodes of a model stay in float32 where the rest computes in a float type of 16 bits, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import constant, is_constant, is_op, users
from npuopt.quantization.half_precision.measuring import HalfErrors, half_errors
from npuopt.quantization.half_precision.support import counting_nodes, wanted_nodes
from npuopt.quantization.masks import MOVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    import numpy as np

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.half_precision.formats import HalfFormat
    from npuopt.quantization.half_precision.measuring import Seen
    from npuopt.quantization.half_precision.support import Places

MOVING = (*MOVERS, "Concat", "Flatten", "Split")
"""Ops that pass numbers on."""

WIDEST_SETTING = 16
"""Elements up to which a constant sets an op up (an epsilon, a factor) and is no weight."""


@dataclass(frozen=True)
class Islands:
    """What stays in float32.

    Attributes:
        reasons: why, by the name of a node's first output, in the order of the graph.
        errors: what was measured.
    """

    reasons: Mapping[str, str]
    errors: HalfErrors

    def own_db(self) -> dict[str, float]:
        """Return each measured node's own signal to noise in dB: of its inputs' rounding or of its result's."""
        nodes, tensors = self.errors.nodes, self.errors.tensors
        return {name: min(one.db, tensors[name].db if name in tensors else one.db) for name, one in nodes.items()}


def find_islands(
    model: Model,
    form: HalfFormat,
    samples: Iterable[Mapping[str, np.ndarray]],
    *,
    kept: Collection[str] = (),
    progress: Callable[[int, int | None], None] | None = None,
    threads: int = 0,
) -> Islands:
    """Find the nodes that stay in float32.

    Those are: nodes that were asked for; arithmetic on positions and lengths; what makes or reads a tensor that goes
    beyond the type's range or is lost below it; what makes much of the rounding of its inputs (differences of nearly
    equal numbers, exponentials and angles of large ones), with what makes these inputs; and nodes of which a constant
    becomes zero.

    Args:
        model: the float model; it comes back as it was.
        form: the type.
        samples: the first few are run.
        kept: first outputs of nodes that are to stay.
        progress: called after each run.
        threads: threads of the runtime, 0 for all cores.
    """
    places = wanted_nodes(model, form)
    errors = half_errors(model, form, places, samples, progress=progress, threads=threads)
    choice = _Choice(form, places)
    for name in kept:
        choice.keep_named(name, "asked for")
    for node in counting_nodes(model):
        choice.keep(node, f"computes with integers, which {form.name} cannot count")
    for node, found in places.items():
        choice.look_at_constants(node, found)
        choice.look_at_tensors(node, found, errors.tensors)
        choice.look_at_errors(node, found, errors.nodes.get(node.outputs[0].name or ""))
    order = [node.outputs[0].name or "" for node in places]
    return Islands({name: choice.reasons[name] for name in order if name in choice.reasons}, errors)


class _Choice:
    """The nodes that stay, as they are found."""

    def __init__(self, form: HalfFormat, places: Mapping[Node, Places]) -> None:
        self.reasons: dict[str, str] = {}
        self._form = form
        self._places = places

    def keep(self, node: Node, reason: str) -> None:
        """Keep a node; the first reason counts."""
        self.keep_named(node.outputs[0].name or "", reason)

    def keep_named(self, name: str, reason: str) -> None:
        """Keep the node that makes this first."""
        self.reasons.setdefault(name, reason)

    def look_at_constants(self, node: Node, places: Places) -> None:
        """Keep a node of which a setting becomes zero, such as the epsilon that keeps a divisor from being zero."""
        for index in places.inputs:
            value = node.inputs[index]
            known = constant(value) if is_constant(value) else None
            if known is not None and known.size <= WIDEST_SETTING and self._form.vanishes(known):
                self.keep(node, f"its constant {float(abs(known).max()):.3g} becomes 0")

    def look_at_tensors(self, node: Node, places: Places, seen: Mapping[str, Seen]) -> None:
        """Keep what makes, and what reads, a tensor that the type does not hold."""
        for index in places.inputs:
            value = node.inputs[index]
            if value is not None and (fault := self._fault(value, seen)):
                self.keep(node, f"reads {value.name}, which {fault}")
        for index in places.outputs:
            if fault := self._fault(node.outputs[index], seen):
                self.keep(node, f"makes {node.outputs[index].name}, which {fault}")

    def look_at_errors(self, node: Node, places: Places, seen: Seen | None) -> None:
        """Keep a node that makes much of its inputs' rounding, and what makes these inputs."""
        if seen is None or seen.db >= self._form.least_db:
            return
        self.keep(node, f"its own error is {_decibels(seen.db)}")
        for index in places.inputs:
            value = node.inputs[index]
            for maker in _makers(value):
                if maker in self._places:
                    made = maker.outputs[0].name or ""
                    self.keep(maker, f"makes {made}, of whose rounding {node.outputs[0].name} makes much")

    def _fault(self, value: Value, seen: Mapping[str, Seen]) -> str:
        """Say what the type does not hold of a tensor, or nothing."""
        found = seen.get(value.name or "")
        if found is None or found.db >= self._form.least_db:
            return ""
        if found.largest > self._form.largest:
            return f"reaches {found.largest:.3g} (overflow)"
        return f"is lost below the smallest numbers: {_decibels(found.db)} at most {found.largest:.3g} (underflow)"


def _makers(value: Value | None) -> list[Node]:
    """Return what computes a value, through ops that pass it on, and these."""
    pending, found = [value], list["Node"]()
    while pending:
        current = pending.pop()
        maker = None if current is None else current.producer()
        if maker is None or maker in found:
            continue
        found.append(maker)
        if is_op(maker, *MOVING):
            pending += maker.inputs
    return found


def _decibels(ratio: float) -> str:
    return f"{ratio:.0f} dB" if ratio > float("-inf") else "no number"


def clamped_constants(model: Model, form: HalfFormat, islands: Collection[str]) -> dict[str, float]:
    """Return the constants of which numbers become the type's greatest, with the greatest magnitude of each."""
    places = wanted_nodes(model, form)
    found: dict[str, float] = {}
    for name, value in model.graph.initializers.items():
        readers = [node for node in users(value) if node in places and (node.outputs[0].name or "") not in islands]
        known = constant(value) if is_constant(value) else None
        if readers and known is not None and known.dtype.kind == "f" and form.clamps(known):
            found[name] = float(abs(known).max())
    return found
