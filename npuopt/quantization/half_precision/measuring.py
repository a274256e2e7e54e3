"""What a float type of 16 bits does to tensors and to single nodes, all of them in one run of an instrumented graph.

Each node is computed a second time in float32 from rounded inputs. What it makes is compared with what it makes of
the inputs as they are; the runtime does so, and a few numbers for each tensor leave it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from math import inf, isfinite, log10, nan
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import DataType, Editor, constant, is_constant
from npuopt.quantization.calibration.taps import tapped_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.half_precision.formats import HalfFormat
    from npuopt.quantization.half_precision.support import Places

SAMPLES = 16
"""Samples that are looked at."""


@dataclass(frozen=True)
class Seen:
    """What was seen of one tensor, or of one node's results.

    Attributes:
        db: signal to noise of rounding it, or of computing it from rounded inputs, in dB; minus infinity where the
            noise is no finite number.
        largest: greatest magnitude.
    """

    db: float
    largest: float


@dataclass(frozen=True)
class HalfErrors:
    """What the type does to a model.

    Attributes:
        tensors: each tensor rounded, by name.
        nodes: what each node makes from rounded inputs, by the name of its first output: its worst output.
        samples: how many were looked at.
    """

    tensors: Mapping[str, Seen] = field(default_factory=dict[str, Seen])
    nodes: Mapping[str, Seen] = field(default_factory=dict[str, Seen])
    samples: int = 0


def half_errors(
    model: Model,
    form: HalfFormat,
    places: Mapping[Node, Places],
    samples: Iterable[Mapping[str, np.ndarray]],
    *,
    progress: Callable[[int, int | None], None] | None = None,
    threads: int = 0,
) -> HalfErrors:
    """Measure nodes and their tensors.

    Args:
        model: the float model; it comes back as it was.
        form: the type.
        places: the nodes to look at, by the node.
        samples: the first few are run.
        progress: called after each run.
        threads: threads of the runtime, 0 for all cores.
    """
    chosen = {node.outputs[0].name or "": found for node, found in places.items()}
    instruments = _Instruments(model.clone(), form)
    for node in list(instruments.model.graph):
        found = chosen.get(node.outputs[0].name or "") if node.outputs else None
        if found is not None:
            instruments.add(node, found)
    taps = instruments.taps()
    if not taps:
        return HalfErrors()
    session = tapped_session(instruments.model, taps, optimize=False, threads=threads)
    count = 0
    for sample in islice(samples, SAMPLES):
        instruments.take(session.run(sample))
        count += 1
        if progress is not None:
            progress(count, None)
    return instruments.errors(count)


@dataclass
class _Sums:
    """Where a graph sums up a signal and its noise, and what came of it."""

    taps: tuple[Value, Value, Value]
    limit: float
    signal: float = 0.0
    noise: float = 0.0
    largest: float = 0.0

    def take(self, made: Mapping[str, np.ndarray]) -> None:
        signal, noise, largest = (float(made[value.name or ""]) for value in self.taps)
        self.signal += signal
        self.noise += noise
        self.largest = max(self.largest, largest)

    def seen(self) -> Seen:
        """Return the ratio; numbers whose squares float32 does not hold are taken as exact: their digits count."""
        if not self.noise or (not isfinite(self.signal) and self.largest <= self.limit):
            return Seen(inf, self.largest)
        ratio = self.signal / self.noise if isfinite(self.noise) and self.signal > 0 else nan
        return Seen(10 * log10(ratio) if ratio > 0 else -inf, self.largest)


class _Instruments:
    """A graph in which nodes are computed twice."""

    def __init__(self, model: Model, form: HalfFormat) -> None:
        self.model = model
        self._form = form
        self._edit = Editor(model)
        self._first = next(iter(model.graph))
        self._rounded: dict[Value, Value] = {}
        self._tensors: dict[str, _Sums] = {}
        self._nodes: dict[str, list[_Sums]] = {}

    def add(self, node: Node, places: Places) -> None:
        """Compute `node` a second time from rounded inputs, and round what it makes."""
        if places.inputs:
            inputs = [
                self._round(value) if index in places.inputs and value is not None else value
                for index, value in enumerate(node.inputs)
            ]
            again = self._edit.emit_many(
                node.op_type, inputs, dict(node.attributes), before=node, outputs=len(node.outputs), domain=node.domain
            )
            kept = [(node.outputs[index], again[index]) for index in places.outputs if _is_read(node.outputs[index])]
            self._nodes[node.outputs[0].name or ""] = [self._compare(*pair, after=node) for pair in kept]
        for index in places.outputs:
            if _is_read(node.outputs[index]):
                self._round(node.outputs[index])

    def taps(self) -> list[Value]:
        """Return what to look at."""
        return [value for sums in self._all() for value in sums.taps]

    def take(self, made: Mapping[str, np.ndarray]) -> None:
        """Take in what one sample made."""
        for sums in self._all():
            sums.take(made)

    def errors(self, samples: int) -> HalfErrors:
        """Return what was seen."""
        nodes = {
            name: min((one.seen() for one in sums), key=lambda seen: seen.db)
            for name, sums in self._nodes.items()
            if sums
        }
        return HalfErrors({name: one.seen() for name, one in self._tensors.items()}, nodes, samples)

    def _all(self) -> list[_Sums]:
        return [*self._tensors.values(), *(one for sums in self._nodes.values() for one in sums)]

    def _round(self, value: Value) -> Value:
        """Return the value rounded to the type and back; a constant's finite numbers stay finite."""
        if value in self._rounded:
            return self._rounded[value]
        known = constant(value) if is_constant(value) else None
        if known is not None:
            array = self._form.rounded(known).astype(np.float32)
            self._rounded[value] = self._edit.constant(array, near=self._first)
            return self._rounded[value]
        maker = value.producer()
        if maker is None:
            narrow = self._edit.emit("Cast", [value], {"to": self._form.data_type}, before=self._first)
            wide = self._edit.emit("Cast", [narrow], {"to": DataType.FLOAT}, before=self._first)
        else:
            narrow = self._edit.emit_after("Cast", [value], {"to": self._form.data_type}, after=maker)
            wide = self._edit.emit_after("Cast", [narrow], {"to": DataType.FLOAT}, after=_made_by(narrow))
        self._rounded[value] = wide
        self._tensors[value.name or ""] = self._compare(value, wide, after=_made_by(wide))
        return wide

    def _compare(self, expected: Value, got: Value, *, after: Node) -> _Sums:
        """Let the graph sum up the squares of a tensor and of its error; equal infinities are no error."""
        edit, whole = self._edit, {"keepdims": 0}
        difference = edit.emit_after("Sub", [got, expected], after=after)
        unclear = edit.emit_after("IsNaN", [difference], after=_made_by(difference))
        nothing = edit.constant(np.zeros((), np.float32), near=after)
        clear = edit.emit_after("Where", [unclear, nothing, difference], after=_made_by(unclear))
        noise = edit.emit_after("ReduceSumSquare", [clear], whole, after=_made_by(clear))
        signal = edit.emit_after("ReduceSumSquare", [expected], whole, after=_made_by(clear))
        magnitude = edit.emit_after("Abs", [expected], after=_made_by(clear))
        largest = edit.emit_after("ReduceMax", [magnitude], whole, after=_made_by(magnitude))
        return _Sums((signal, noise, largest), self._form.largest)


def _is_read(value: Value) -> bool:
    return bool(value.name) and (bool(value.uses()) or value.is_graph_output())


def _made_by(value: Value) -> Node:
    maker = value.producer()
    assert maker is not None, "it was just made"  # noqa: S101 -- for the type alone
    return maker
