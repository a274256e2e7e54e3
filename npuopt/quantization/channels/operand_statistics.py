"""What calibration data shows of the channels of tensors, wherever their elements lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.quantization.calibration.taps import TAP_BYTES, portions, tapped_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from npuopt.graph import Model, Value
    from npuopt.quantization.samples.data import Samples

    Progress = Callable[[int, int | None], None]


@dataclass
class Spread:
    """What was seen of the channels of one tensor.

    Attributes:
        low: least number of each channel, zero at most.
        high: greatest number of each channel, zero at least.
        power: mean square of each channel.
    """

    low: np.ndarray
    high: np.ndarray
    power: np.ndarray


def spreads(
    model: Model,
    wanted: Mapping[Value, tuple[np.ndarray, int]],
    samples: Samples,
    *,
    progress: Progress | None = None,
    threads: int = 0,
) -> dict[Value, Spread]:
    """Run the samples and return what they show of tensors, a portion of them at a time.

    Args:
        model: the float model; it comes back as it was.
        wanted: tensors that nodes make, with the channel of each element (of a shape that broadcasts to the tensor's)
            and the number of channels.
        samples: read once for each portion.
        progress: called after each sample with the samples done and the total, None when unknown.
        threads: threads of the runtime, 0 for all cores.
    """
    found: dict[Value, Spread] = {}
    cut = portions(list(wanted), TAP_BYTES)
    total = None if samples.count is None else samples.count * len(cut)
    done = 0
    for portion in cut:
        counts = {value: np.zeros(wanted[value][1]) for value in portion}
        for value in portion:
            found[value] = Spread(*(np.zeros(wanted[value][1]) for _ in range(3)))
        session = tapped_session(model, portion, optimize=True, threads=threads)
        for sample in samples:
            arrays = session.run(sample)
            for value in portion:
                _add(found[value], counts[value], arrays[value.name or ""], wanted[value][0])
            done += 1
            if progress is not None:
                progress(done, total)
        for value in portion:
            found[value].power /= np.maximum(counts[value], 1)
    return found


def _add(spread: Spread, count: np.ndarray, array: np.ndarray, channels: np.ndarray) -> None:
    """Take in one sample's tensor; axes along which the channels do not vary are reduced first."""
    numbers = np.where(np.isfinite(array), array, 0)
    shape = (1,) * (array.ndim - channels.ndim) + channels.shape
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1)
    held = channels.reshape(shape)
    np.minimum.at(spread.low, held, numbers.min(axis=axes, keepdims=True, initial=0))
    np.maximum.at(spread.high, held, numbers.max(axis=axes, keepdims=True, initial=0))
    np.add.at(spread.power, held, np.square(numbers, dtype=np.float64).sum(axis=axes, keepdims=True))
    np.add.at(count, held, array.size / held.size)
