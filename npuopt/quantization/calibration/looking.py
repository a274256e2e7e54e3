"""Looks at inner tensors of a model while samples run through it: at all their numbers, or at a few that sum them up.

Summing up is left to the runtime, next to the node that makes the tensor: nothing large is copied out or kept.
Measured on a 110-million-parameter encoder: as much CPU time as plain inference, where copies take half as much again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
import onnx_ir as ir

from npuopt.graph import DataType, element_type, opset, static_shape
from npuopt.graph.regions import cut_nodes
from npuopt.quantization.calibration.segments import cut_segments, weight_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from npuopt.graph import Model, Node, Value
    from npuopt.graph.execution import Session
    from npuopt.quantization.calibration.segments import Segment

AXES_ARE_INPUTS = 18
"""The opset from which Reduce ops take their axes as an input."""


BATCH_BYTES, LARGEST_BATCH = 2**28, 64
"""Of tensors between two parts that are held for samples which wait for the next part, and how many may wait."""


@dataclass(frozen=True)
class Look:
    """What is wanted of one tensor.

    Attributes:
        value: the tensor; a node of the main graph makes it.
        whole: all its numbers; else a Summary.
        peak_axes: axes along which greatest numbers are wanted.
        mean_axes: axes for each index of which the mean is wanted.
    """

    value: Value
    whole: bool = False
    peak_axes: tuple[int, ...] = ()
    mean_axes: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self.value.name or ""


@dataclass
class Summary:
    """One sample's tensor, summed up.

    Attributes:
        low: its least number.
        high: its greatest number.
        peaks: its greatest numbers along each of the axes asked for.
        means: its mean for each index of the axes asked for.
    """

    low: float
    high: float
    peaks: dict[int, np.ndarray] = field(default_factory=dict[int, np.ndarray])
    means: dict[int, np.ndarray] = field(default_factory=dict[int, np.ndarray])


class Looker:
    """Runs samples through a model and looks at its tensors.

    The model is cut where all that is looked at as a whole would take more than `limit` bytes, or its weights more
    than `weight_limit`; the parts are run one after the other. So one pass of inference is enough, however much there
    is to see. Where weights do not fit, only one part is open at a time, and runs `batch` samples before it is closed.
    Else samples run side by side, a thread for each, as many as there are threads and `limit` has room for.

    Args:
        model: shapes known where possible; it stays as it is.
        looks: what to look at.
        limit: bytes of whole tensors that are held at a time (or the largest one).
        weight_limit: bytes of weights that are open at a time (or those of one node); None for all of them.
        threads: of the runtime in all, 0 for all cores.

    Attributes:
        batch: how many samples are best looked at together.
        reopens: whether each batch opens the weights of all parts anew.
    """

    def __init__(
        self, model: Model, looks: Iterable[Look], *, limit: int, weight_limit: int | None = None, threads: int
    ) -> None:
        from npuopt.graph.execution import side_by_side  # noqa: PLC0415 -- passes can do without running models

        self._looks = {look.name: _feasible(look, model) for look in looks}
        sizes = {look.name: _bytes(look.value) for look in self._looks.values() if look.whole}

        at_once = min(side_by_side(None, threads), max(1, limit // max((1, *sizes.values()))))
        if weight_limit is not None:
            at_once = 1  # where weights hardly fit, one sample's activations do

        def cost(node: Node) -> float:
            seen = sum(sizes.get(value.name or "", 0) for value in node.outputs)
            return seen * at_once / limit + (weight_bytes(node) / weight_limit if weight_limit else 0.0)

        segments = cut_segments(model, cost, 1.0) if self._looks else []
        self._parts = [_Part(model, segment, self._looks, threads, at_once) for segment in segments]
        self.reopens = weight_limit is not None and len(segments) > 1
        widest = max((sum(map(_bytes, segment.inputs)) for segment in segments), default=0)
        self.batch = max(1, min(LARGEST_BATCH, BATCH_BYTES // max(widest, 1))) if self.reopens else at_once

    def look(self, samples: Sequence[Mapping[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray | Summary]]:
        """Run samples; yield what was asked for, part by part in the order of the graph, and in each in their order.

        A tensor that holds infinity or NaN is seen as a whole from its first sample with one on.
        """
        known = [dict(sample) for sample in samples]
        for number, part in enumerate(self._parts):
            needed = {name for later in self._parts[number + 1 :] for name in later.inputs}
            for first in range(0, len(known), part.at_once):
                together = known[first : first + part.at_once]
                for index, seen in enumerate(part.run_each(together), first):
                    while seen.odd:
                        self._looks.update({name: Look(self._looks[name].value, whole=True) for name in seen.odd})
                        part.replace_looks(self._looks)
                        (seen,) = part.run_each([known[index]])  # noqa: PLW2901 -- the same sample, seen better
                    yield from seen.found.items()
                    kept = {**known[index], **seen.kept}
                    known[index] = {name: array for name, array in kept.items() if name in needed}
            if self.reopens:
                part.close()


@dataclass
class _Seen:
    """What one run of one part gave.

    Attributes:
        found: of each tensor looked at.
        kept: what later parts read.
        odd: tensors with numbers that are not finite, whose summaries say nothing.
    """

    found: dict[str, np.ndarray | Summary]
    kept: dict[str, np.ndarray]
    odd: list[str]


class _Part:
    """A segment of the model with sessions that give what is looked at."""

    def __init__(self, model: Model, segment: Segment, looks: Mapping[str, Look], threads: int, at_once: int) -> None:
        self.at_once = at_once
        self._model = model
        self._segment = segment
        self._threads = threads
        self._session: Session | None = None
        self.replace_looks(looks)

    def replace_looks(self, looks: Mapping[str, Look]) -> None:
        """Look at this from now on; what other parts make is left to them."""
        made = [value.name or "" for node in self._segment.nodes for value in node.outputs]
        self._looks = [looks[name] for name in made if name in looks]
        self._session = None

    @property
    def inputs(self) -> list[str]:
        """The names of what it reads."""
        return [value.name or "" for value in self._segment.inputs]

    def close(self) -> None:
        """Give its weights back; the next run opens it again."""
        self._session = None

    def run_each(self, samples: Sequence[Mapping[str, np.ndarray]]) -> list[_Seen]:
        """Run the part on samples side by side."""
        if not self._looks and not self._segment.outputs:
            return [_Seen({}, {}, []) for _ in samples]
        if self._session is None:
            self._session = self._open()
        return [self._seen(results) for results in self._session.run_each(samples)]

    def _seen(self, results: Mapping[str, np.ndarray]) -> _Seen:
        """Sort what the session gave for one sample."""
        seen = _Seen({}, {value.name or "": results[value.name or ""] for value in self._segment.outputs}, [])
        for number, look in enumerate(self._looks):
            if look.whole:
                seen.found[look.name] = results[look.name]
                continue
            prefix = self._prefix(number)
            low, high, total = (float(results[f"{prefix}{kind}"]) for kind in ("low", "high", "sum"))
            if not np.isfinite([low, high, total]).all():
                seen.odd.append(look.name)
                continue
            peaks = {axis: results[f"{prefix}peak{axis}"] for axis in look.peak_axes}
            means = {axis: results[f"{prefix}mean{axis}"] for axis in look.mean_axes}
            seen.found[look.name] = Summary(low, high, peaks, means)
        return seen

    def _prefix(self, number: int) -> str:
        """Return the start of the names of one tensor's summary: no NUL can be in a name that came from a file."""
        return f"npuopt/look{number}/"

    def _open(self) -> Session:
        from npuopt.graph.execution import Session  # noqa: PLC0415 -- imports onnxruntime, which passes can do without

        segment = self._segment
        wanted = dict.fromkeys((*segment.outputs, *(look.value for look in self._looks)))
        part = cut_nodes(self._model, segment.nodes, segment.inputs, list(wanted), name="part")
        copies = dict(zip(wanted, list(part.graph.outputs), strict=True))
        outputs = dict.fromkeys(copies[value] for value in segment.outputs)
        for number, look in enumerate(self._looks):
            copy = copies[look.value]
            made = [copy] if look.whole else _summarize(part.graph, copy, look, self._prefix(number))
            outputs.update(dict.fromkeys(made))
        part.graph.outputs.clear()
        part.graph.outputs.extend(outputs)
        return Session(part, optimize=True, threads=self._threads, at_once=self.at_once, soonest=True)


def room_for_weights(model: Model) -> int | None:
    """Return how many bytes of weights to open at a time, None when there is room for all of them.

    A runtime holds weights once more while it opens them, in the layout that it computes with.
    """
    total = sum(
        value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None
    )
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 2 * total
    return None if 2 * total <= free else free // 4


def _summarize(graph: ir.Graph, value: Value, look: Look, prefix: str) -> list[Value]:
    """Add the nodes of a Summary; a sum is among them, as Reduce ops for extremes pass NaN over.

    They stand next to the node that makes the tensor and are run next, so that it need not be kept for them.
    """
    last = cast("ir.Node", value.producer())
    rank = len(static_shape(value) or ())
    wanted: dict[str, tuple[str, Sequence[int]]] = {
        "low": ("ReduceMin", ()),
        "high": ("ReduceMax", ()),
        "sum": ("ReduceSum", ()),
    }
    wanted.update({f"peak{axis}": ("ReduceMax", [axis]) for axis in look.peak_axes})
    for axis in look.mean_axes:
        wanted[f"mean{axis}"] = ("ReduceMean", [other for other in range(rank) if other != axis % rank])
    made: list[Value] = []
    for kind, (op_type, axes) in wanted.items():
        inputs = [value]
        if axes:
            tensor = ir.tensor(np.asarray(axes, np.int64), name=f"{prefix}{kind}/axes")
            inputs.append(ir.Value(name=tensor.name, const_value=tensor))
            graph.register_initializer(inputs[-1])
        output = ir.Value(name=f"{prefix}{kind}", type=ir.TensorType(DataType.FLOAT))
        node = ir.node(op_type, inputs, {"keepdims": 0}, outputs=[output])
        graph.insert_after(last, node)
        made.append(output)
    return made


def _feasible(look: Look, model: Model) -> Look:
    """Look at the whole tensor where the runtime cannot sum it up: no float32, or an empty or unknown shape."""
    shape = static_shape(look.value)
    simple = element_type(look.value) == DataType.FLOAT and shape is not None and 0 not in shape
    axes = bool(look.peak_axes or look.mean_axes)
    return look if look.whole or (simple and (not axes or opset(model) >= AXES_ARE_INPUTS)) else Look(look.value, True)


def _bytes(value: Value) -> int:
    return 4 * int(np.prod(static_shape(value) or (1,)))
