"""What calibration remembers of one tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import attribute, is_constant, is_op, static_shape
from npuopt.quantization.calibration.looking import Look, Summary
from npuopt.quantization.calibration.methods import MinMax
from npuopt.quantization.calibration.observers import EIGHT_BITS, ExtremesObserver
from npuopt.quantization.masks import MASKED_OUT
from npuopt.quantization.ranges import Range, Seen
from npuopt.quantization.roles import feature_axis

if TYPE_CHECKING:
    from npuopt.graph import Value
    from npuopt.quantization.calibration.methods import Method
    from npuopt.quantization.calibration.observers import State


SAME_NUMBERS = ("Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Ops whose output holds the numbers of input 0 and no others: they need no look of their own."""

CHOOSERS = ("ArgMax", "LogSoftmax", "Softmax", "TopK")
"""Ops whose result depends on the greatest numbers, which are rare."""


class Watch:
    """One tensor and its observer; where a Softmax reads it the peaks of its rows, where weights do its means.

    Args:
        value: the tensor.
        method: how its range is found; where rare numbers decide, by the least and the greatest one in any case.
    """

    def __init__(self, value: Value, method: Method) -> None:
        method = MinMax() if rare_numbers_decide(value) else method
        self.value = value
        self._whole = method.needs_numbers
        self._observer = method.observer()
        self._peak_axes = tuple(softmax_axes(value))
        self._sums: dict[int, np.ndarray] = {axis: np.zeros(0) for axis in sorted(feature_axes(value))}
        self._samples = 0
        self._numbers = 0
        self._row_peak = np.inf
        self._empty = True

    def look(self) -> Look:
        """Return what is wanted of the tensor: all its numbers, or what sums them up."""
        whole = self._whole
        return Look(self.value, whole, () if whole else self._peak_axes, () if whole else tuple(self._sums))

    def take(self, seen: np.ndarray | Summary) -> None:
        """Take in one sample's tensor, whatever its shape, or its summary.

        Raises:
            InputError: when there is NaN in it.
        """
        self._samples += 1
        if isinstance(seen, Summary):
            self._take_rows(seen.peaks, seen.means)
            self._take_extremes(seen.low, seen.high)
            self._numbers += int(np.prod(static_shape(self.value) or ()))
            return
        array = seen if seen.dtype == np.float32 else seen.astype(np.float32)
        if not array.size:
            return
        peaks = {axis: array.max(axis=axis) for axis in self._peak_axes}
        self._take_rows(peaks, {axis: _means(array, axis) for axis in self._sums})
        numbers = array.reshape(-1)
        if not np.isfinite(numbers).all():
            if np.isnan(numbers).any():
                raise InputError("the float model computes NaN here on calibration data", where=self.value.name or "")
            numbers = numbers[np.isfinite(numbers)]
        if numbers.size:
            self._empty = False
            self._numbers += numbers.size
            self._observer.update(numbers)

    def range(self, levels: int = EIGHT_BITS, *, symmetric: bool = False) -> Range:
        """Return the range; [0, 0] for a tensor that never held a finite number."""
        peak = self._row_peak if np.isfinite(self._row_peak) else None
        if self._empty:
            return Range(0.0, 0.0, peak)
        found = self._observer.range(levels, symmetric=symmetric)
        return Range(found.low, found.high, peak)

    def seen(self) -> Seen | None:
        """Return what it saw, whatever the range leaves out; None where it never saw a finite number."""
        if self._empty:
            return None
        low, high = self._observer.extremes()
        return Seen(low, high, self._numbers, self._observer.outside)

    def means(self) -> dict[int, tuple[float, ...]]:
        """Return the mean over all samples of each channel, by channel axis; finite ones only."""
        found = {axis: total / max(self._samples, 1) for axis, total in self._sums.items() if total.size}
        return {axis: tuple(mean.tolist()) for axis, mean in found.items() if np.isfinite(mean).all()}

    def state(self) -> dict[str, np.ndarray]:
        """Return all that it remembers."""
        own = np.array([self._samples, self._row_peak, self._empty, self._numbers])
        sums = {f"sums{axis}": total for axis, total in self._sums.items()}
        return {"watch": own, **sums, **self._observer.state()}

    def restore(self, state: State) -> None:
        """Remember what `state` returned once."""
        samples, self._row_peak, empty, count = (float(number) for number in state["watch"])
        self._samples, self._empty, self._numbers = int(samples), bool(empty), int(count)
        self._sums = {axis: state[f"sums{axis}"] for axis in self._sums}
        self._observer.restore(state)

    def _take_extremes(self, low: float, high: float) -> None:
        self._empty = False
        if isinstance(self._observer, ExtremesObserver):
            self._observer.take(low, high)
        else:
            self._observer.update(np.array([low, high], np.float32))

    def _take_rows(self, peaks: dict[int, np.ndarray], means: dict[int, np.ndarray]) -> None:
        for found in peaks.values():
            lowest = float(found[found > MASKED_OUT].min(initial=np.inf))
            self._row_peak = min(self._row_peak, lowest)
        for axis, mean in means.items():
            self._sums[axis] = self._sums[axis] + mean if self._sums[axis].size else mean.astype(np.float64)


def rare_numbers_decide(value: Value) -> bool:
    """Say whether the tensor is a graph output or scores to choose by, shifted and scaled by constants at most.

    Of thousands of classes one is right: no percentile and no mean error sees it. Measured on a language model at
    a8w8 with percentile 99.999: perplexity +0.77 % instead of +1.09 %.
    """
    if value.is_graph_output():
        return True
    for use in value.uses():
        node = use.node
        if is_op(node, *CHOOSERS):
            return True
        others = [other for other in node.inputs if other is not None and other is not value]
        shifts = is_op(node, "Add", "Div", "Mul", "Sub") and all(is_constant(other) for other in others)
        masks = is_op(node, "Add", "Where") and any(is_op(use.node, *CHOOSERS) for use in node.outputs[0].uses())
        if (shifts or masks or is_op(node, *SAME_NUMBERS)) and rare_numbers_decide(node.outputs[0]):
            return True
    return False


def softmax_axes(value: Value) -> list[int]:
    """List the axes along which a Softmax reads the tensor, each once."""
    readers = (use.node for use in value.uses())
    return sorted({attribute(node, "axis", -1) for node in readers if is_op(node, "Softmax", "LogSoftmax")})


def feature_axes(value: Value) -> set[int]:
    """Return the axes along which the tensor has the input channels of a layer that reads it."""
    axes = (feature_axis(use.node) for use in value.uses() if use.idx == 0)
    return {axis for axis in axes if axis is not None}


def _means(array: np.ndarray, axis: int) -> np.ndarray:
    others = tuple(other for other in range(array.ndim) if other != axis)
    return np.asarray(array.mean(axis=others, dtype=np.float64))
