"""What is wrong with encodings on real data, by tensor name: clipping, dead channels, stuck tensors, tiny scales."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Literal

import numpy as np

from npuopt.graph import is_constant, is_op, release_mapped
from npuopt.quantization.arithmetic import SMALLEST_SCALE, quantize, representable, saturation
from npuopt.quantization.assignment.needs import narrowed
from npuopt.quantization.assignment.weights import numbers
from npuopt.quantization.calibration.taps import TAP_BYTES, portions, tapped_session
from npuopt.quantization.masks import MOVERS, find_masks
from npuopt.quantization.ranges import Range
from npuopt.quantization.roles import float_values

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.encodings import Encoding, Encodings
    from npuopt.quantization.ranges import Seen

    Arrays = Mapping[str, np.ndarray]

CLIPPED = 0.01
"""Share of a tensor's numbers outside its encoding from which on it is worth a word: fitted ranges cut less."""

FEWEST = 16
"""Numbers that must be seen before all being the same says anything."""

MOVING = (*(name for name in MOVERS if name != "Cast"), "Flatten", "Split")
EVERYTHING, NOTHING = Range(-np.inf, np.inf), Range(0.0, 0.0)

Kind = Literal["clipped", "stuck", "dead-channels", "tiny-scale"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a tensor's encoding.

    Attributes:
        tensor: the tensor's name.
        kind: `clipped` (numbers outside of what the encoding holds), `stuck` (all numbers of all samples became the
            same), `dead-channels` (channels of a weight that became zero), or `tiny-scale` (a scale at or below the
            smallest normal float32, so that what it stands for underflows).
        text: the sentence, with figures.
        share: of the tensor's numbers, or of its channels; 0..1.
    """

    tensor: str
    kind: Kind
    text: str
    share: float

    def __str__(self) -> str:
        return f"{self.tensor}: {self.text}"


def find_faults(
    model: Model,
    encodings: Encodings,
    samples: Sequence[Arrays],
    *,
    seen: Mapping[str, Seen] | None = None,
    tap_bytes: int = TAP_BYTES,
    threads: int = 0,
) -> list[Finding]:
    """Look for what is wrong with the encodings, by what calibration saw or else on a few samples.

    Args:
        model: the float model that the encodings are for; it comes back as it was.
        encodings: those to look at.
        samples: are run through the float model, once for each portion of `tap_bytes`, where what was seen does not
            tell enough of some tensor.
        seen: what calibration saw in the same model.
        tap_bytes: bytes of activations that are held at a time.
        threads: threads of the runtime, 0 for all cores.

    Returns:
        Scales first, then weights, then activations in the order of the graph.
    """
    found = [*_tiny_scales(encodings), *_dead_channels(model, encodings)]
    release_mapped(model.graph.initializers.values())
    masks = find_masks(model)
    meant = {value for value in (*masks.scores, *masks.carriers) if value.name}
    held = _held(model, encodings, meant)
    unknown = [one for one in held if not one.recall((seen or {}).get(one.value.name or ""))]
    _look(model, unknown, samples, tap_bytes, threads)
    for one in held:
        if one.is_stuck:
            text = f"all {one.elements} numbers seen became {one.low:g}"
            found.append(Finding(one.value.name or "", "stuck", text, 1.0))
        elif one.share >= CLIPPED:
            low, high = one.encoding.range
            text = f"{one.share:.1%} of its numbers are clipped to {low:.4g} to {high:.4g}"
            found.append(Finding(one.value.name or "", "clipped", text, one.share))
    return found


def _tiny_scales(encodings: Encodings) -> Iterator[Finding]:
    held = [*encodings.tensors.items()]
    held += [(f"{output} (input {index})", one) for output, by in encodings.uses.items() for index, one in by.items()]
    for name, encoding in held:
        tiny = int(np.count_nonzero(np.asarray(encoding.scale) <= SMALLEST_SCALE))
        if tiny:
            count = (
                f"{tiny} of {len(encoding.scale)} scales underflow" if len(encoding.scale) > 1 else "scale underflows"
            )
            yield Finding(name, "tiny-scale", f"its {count} (at most {SMALLEST_SCALE:.3g})", tiny / len(encoding.scale))


def _dead_channels(model: Model, encodings: Encodings) -> Iterator[Finding]:
    read = {
        (value, encoding): None
        for node in model.graph
        for index, value in enumerate(node.inputs)
        if value is not None
        and is_constant(value)
        and (encoding := encodings.read_by(node.outputs[0].name or "", index, value.name or "")) is not None
    }
    for value, encoding in read:
        if encoding.axis is None:
            continue
        array = numbers(value)
        others = tuple(axis for axis in range(array.ndim) if axis != encoding.axis)
        largest = np.abs(array).max(axis=others, initial=0.0)
        scale = np.asarray(encoding.scale)
        if largest.shape != scale.shape:
            continue  # a scale for each block of a channel, which its own numbers are in
        dead = int(np.count_nonzero((largest > 0) & (largest < 0.5 * scale)))
        if dead:
            text = f"{dead} of {len(largest)} channels became zero"
            yield Finding(value.name or "", "dead-channels", text, dead / len(largest))


@dataclass
class _Held:
    """One activation, the interval of its numbers that matter, and what is known of them."""

    value: Value
    encoding: Encoding
    needed: Range
    low: float = np.inf
    high: float = -np.inf
    outside: float = 0.0
    elements: int = 0

    def recall(self, seen: Seen | None) -> bool:
        """Take what calibration saw; return whether that tells all."""
        if seen is None:
            return False
        share = self._beyond(seen, 0.0)
        if share is None and self._beyond(seen, self.encoding.scale[0]) == 0.0:
            share = 0.0  # a step beyond the ends: what rounding the zero point moves them by, no fault of the range
        if share is None:
            return False
        self.low, self.high, self.elements, self.outside = seen.low, seen.high, seen.count, share * seen.count
        return True

    def _beyond(self, seen: Seen, distance: float) -> float | None:
        """Return the share of the numbers that matter and lie further outside than a distance; None when unknown."""
        least, greatest = (float(end) for end in representable(self.encoding, 0))
        low = least - distance if self.needed.low < least else -np.inf
        return seen.outside(low, greatest + distance if self.needed.high > greatest else np.inf)

    def add(self, array: np.ndarray) -> None:
        """Take in one sample."""
        low, high = float(array.min(initial=np.inf)), float(array.max(initial=-np.inf))
        if not isfinite(high - low):
            array = array[np.isfinite(array)]
            low, high = float(array.min(initial=np.inf)), float(array.max(initial=-np.inf))
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.elements += array.size
        ends = np.clip([low, high], self.needed.low, self.needed.high)
        if array.size and saturation(ends, self.encoding):  # else none in between is outside either
            needed = np.clip(array, self.needed.low, self.needed.high)
            self.outside += saturation(needed, self.encoding) * array.size

    @property
    def share(self) -> float:
        """Share of the numbers that were clipped."""
        return self.outside / self.elements if self.elements else 0.0

    @property
    def is_stuck(self) -> bool:
        """Say whether the lowest and the highest of several numbers are held as the same integer."""
        if self.elements < FEWEST:
            return False
        ends = quantize(np.asarray([self.low, self.high]), self.encoding)
        return bool(ends[0] == ends[1])


def _held(model: Model, encodings: Encodings, meant: Collection[Value]) -> list[_Held]:
    """List the activations that are held by one scale; of those in `meant` no number is missed that is cut off."""
    found: list[_Held] = []
    for value in float_values(model):
        encoding = encodings.tensors.get(value.name or "")
        if encoding is not None and encoding.axis is None:
            needed = NOTHING if value in meant else _needed(value, encoding.dtype)
            found.append(_Held(value, encoding, needed))
    return found


def _look(model: Model, held: Sequence[_Held], samples: Sequence[Arrays], tap_bytes: int, threads: int) -> None:
    """Run the samples and take in the tensors' numbers."""
    by_name = {one.value.name or "": one for one in held}
    for name in [name for name, one in by_name.items() if one.value.producer() is None]:
        for sample in samples:
            by_name[name].add(sample[name])
    inside = [one.value for one in held if one.value.producer() is not None]
    for portion in portions(inside, tap_bytes):
        session = tapped_session(model, portion, optimize=True, threads=threads)
        for sample in samples:
            for name, array in session.run(sample).items():
                by_name[name].add(array)


def _needed(value: Value, dtype: IntegerType) -> Range:
    """Return the interval outside of which no reader can tell numbers apart.

    Of what only a Softmax reads nothing is asked: how much of it counts depends on the peak of each row.
    """
    readers = list(_readers(value))
    if value.is_graph_output() or not readers or any(read.is_graph_output() for _, read in readers):
        return EVERYTHING
    asking = [(node, read) for node, read in readers if not is_op(node, "Softmax")]
    return narrowed(EVERYTHING, asking, dtype) if asking else NOTHING


def _readers(value: Value) -> Iterator[tuple[Node, Value]]:
    """Yield what computes with the tensor, through ops that only move it, each with what it reads."""
    for use in value.uses():
        moved = use.node.outputs[0]
        if is_op(use.node, *MOVING) and not moved.is_graph_output():
            yield from _readers(moved)
        else:
            yield use.node, value
