"""Runs calibration samples through the float model and keeps the range of every float tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import attribute, element_type, is_constant, is_op, label, nodes
from npuopt.quantization.masks import MASKED_OUT
from npuopt.quantization.methods import MinMax, method_text
from npuopt.quantization.observers import EIGHT_BITS
from npuopt.quantization.ranges import Range, Ranges
from npuopt.quantization.roles import feature_axis
from npuopt.quantization.taps import TAP_BYTES, portions, tapped_session

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.data import Samples
    from npuopt.quantization.methods import Method
    from npuopt.quantization.observers import Observer

    Progress = Callable[[int, int | None], None]


SAME_NUMBERS = ("Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Ops whose output holds the numbers of input 0 and no others: they need no look of their own."""


def calibrate(
    model: Model,
    samples: Samples,
    method: Method | None = None,
    *,
    progress: Progress | None = None,
    tap_bytes: int = TAP_BYTES,
    threads: int = 0,
) -> Ranges:
    """Find the range of every float tensor of the main graph that is no constant.

    Memory holds the weights, one sample, and at most `tap_bytes` of its activations (or the largest one).

    Args:
        model: the float model; it comes back as it was.
        samples: read once for each portion of `tap_bytes`.
        method: how ranges are found; least and greatest number when None.
        progress: called after each sample with the samples done and the total, None when unknown.
        tap_bytes: bytes of activations that are looked at in one run.
        threads: threads of the runtime, 0 for all cores.

    Raises:
        InputError: when a sample does not fit, or makes the model compute NaN.
    """
    method = method or MinMax()
    watches = {value.name or "": _Watch(value, method.observer()) for value in _watched(model)}
    inputs = {value.name or "" for value in model.graph.inputs}.intersection(watches)
    # A model without nodes to look at still has its samples read once, for its inputs.
    runs = portions([watch.value for name, watch in watches.items() if name not in inputs], tap_bytes) or [[]]
    total = None if samples.count is None else samples.count * len(runs)
    done = 0
    for number, portion in enumerate(runs):
        session = tapped_session(model, portion, optimize=True, threads=threads) if portion else None
        for sample in samples:
            for name in inputs if number == 0 else ():
                watches[name].update(sample[name])
            for name, array in session.run(sample).items() if session is not None else ():
                watches[name].update(array)
            done += 1
            if progress is not None:
                progress(done, total)
    ranges = {name: watch.range() for name, watch in watches.items()}
    moved = _moved(model, ranges)
    ranges.update({name: _alone(ranges[source]) for name, source in moved.items()})

    def fitted(name: str, levels: int, symmetric: bool) -> Range:
        if name in moved:
            return _alone(watches[moved[name]].range(levels, symmetric=symmetric))
        return watches[name].range(levels, symmetric=symmetric)

    means = {name: found for name, watch in watches.items() if (found := watch.means())}
    return Ranges(ranges, method_text(method), done // len(runs), means, fitted)


class _Watch:
    """One tensor and its observer; where a Softmax reads it the peaks of its rows, where weights do its means."""

    def __init__(self, value: Value, observer: Observer) -> None:
        self.value = value
        self._observer = observer
        self._axes = _softmax_axes(value)
        self._sums: dict[int, np.ndarray | float] = dict.fromkeys(_feature_axes(value), 0.0)
        self._updates = 0
        self._row_peak: float | None = None
        self._empty = True

    def update(self, array: np.ndarray) -> None:
        """Take in one sample's tensor, whatever its shape."""
        if array.dtype != np.float32:
            array = array.astype(np.float32)
        for axis in self._axes if array.size else ():
            peaks = array.max(axis=axis)
            peak = float(peaks[peaks > MASKED_OUT].min(initial=np.inf))
            if np.isfinite(peak):
                self._row_peak = peak if self._row_peak is None else min(peak, self._row_peak)
        for axis, total in self._sums.items() if array.size else ():
            others = tuple(other for other in range(array.ndim) if other != axis)
            self._sums[axis] = total + array.mean(axis=others, dtype=np.float64)
        self._updates += 1
        finite = array.reshape(-1)
        if not np.isfinite(finite).all():
            if np.isnan(finite).any():
                raise InputError("the float model computes NaN here on calibration data", where=self.value.name or "")
            finite = finite[np.isfinite(finite)]
        if finite.size:
            self._empty = False
            self._observer.update(finite)

    def range(self, levels: int = EIGHT_BITS, *, symmetric: bool = False) -> Range:
        """Return the range; [0, 0] for a tensor that never held a finite number."""
        if self._empty:
            return Range(0.0, 0.0, self._row_peak)
        found = self._observer.range(levels, symmetric=symmetric)
        return Range(found.low, found.high, self._row_peak)

    def means(self) -> dict[int, tuple[float, ...]]:
        """Return the mean over all samples of each channel, by channel axis; finite ones only."""
        found = {axis: np.atleast_1d(total) / max(self._updates, 1) for axis, total in self._sums.items()}
        return {axis: tuple(mean.tolist()) for axis, mean in found.items() if np.isfinite(mean).all()}


def _softmax_axes(value: Value) -> list[int]:
    readers = (use.node for use in value.uses())
    return [attribute(node, "axis", -1) for node in readers if is_op(node, "Softmax", "LogSoftmax")]


def _feature_axes(value: Value) -> set[int]:
    axes = (feature_axis(use.node) for use in value.uses() if use.idx == 0)
    return {axis for axis in axes if axis is not None}


def float_values(model: Model) -> list[Value]:
    """List the float tensors of the main graph that are no constants: graph inputs, then node outputs in order."""
    made = [output for node in model.graph for output in node.outputs if output.name]
    return [
        value
        for value in (*model.graph.inputs, *made)
        if not is_constant(value) and (kind := element_type(value)) is not None and kind.is_floating_point()
    ]


def _watched(model: Model) -> list[Value]:
    """List the tensors whose numbers have to be looked at."""
    return [
        value
        for value in float_values(model)
        if _softmax_axes(value) or _feature_axes(value) or not _repeats(value.producer())
    ]


def _repeats(node: Node | None) -> bool:
    """Say whether the node's output has the range of its input 0, which is looked at instead."""
    return node is not None and is_op(node, *SAME_NUMBERS) and not is_constant(node.inputs[0])


def _moved(model: Model, known: Collection[str]) -> dict[str, str]:
    """Return which looked-at tensor's numbers the outputs of ops that only move numbers hold, by their names."""
    moved: dict[str, str] = {}
    for node in nodes(model, *SAME_NUMBERS):
        source, output = node.inputs[0], node.outputs[0].name or label(node)
        name = "" if source is None else source.name or ""
        root = moved.get(name, name)
        if output not in known and root in known:
            moved[output] = root
    return moved


def _alone(found: Range) -> Range:
    """Return the interval without the peaks, which are those of one Softmax's input only."""
    return Range(found.low, found.high)
