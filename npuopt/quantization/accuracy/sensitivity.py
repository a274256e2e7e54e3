"""Where quantization costs accuracy: each layer's own error, and what it alone does at the model's outputs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import inf, log10
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Session
from npuopt.graph.static_ends import with_static_ends
from npuopt.quantization.accuracy.probe import probe_model

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from npuopt.graph import Model
    from npuopt.quantization.accuracy.probe import Insert, Probe
    from npuopt.quantization.encodings import Encodings

    Arrays = Mapping[str, np.ndarray]
    Progress = Callable[[int, int | None], None]


BLOCK = 1 << 18
"""Elements that are compared at a time: a language model's logits in float64 would take a gigabyte."""


@dataclass(frozen=True)
class LayerError:
    """What one layer's rounding does.

    Attributes:
        name: the tensor that the layer makes, or a graph input that is held as integers.
        op_type: the layer's op, empty for a graph input.
        own_noise: the layer's own error on float inputs, sum of squares over that of the float tensor.
        at_outputs: what this error alone makes of the model's outputs, by name: sum of squares of the difference over
            that of the float output; empty where it was not asked for.
    """

    name: str
    op_type: str
    own_noise: float
    at_outputs: Mapping[str, float]

    @property
    def own_db(self) -> float:
        """Signal to noise of the layer by itself, in dB."""
        return decibels(self.own_noise)

    @property
    def at_output_db(self) -> float | None:
        """Signal to noise at the output that suffers most, were this the only layer that rounds; None if not known."""
        return decibels(max(self.at_outputs.values())) if self.at_outputs else None


def decibels(noise: float) -> float:
    """Return the signal to noise ratio in dB of a relative noise power; infinite where there is none."""
    return -10 * log10(noise) if noise > 0 else inf


def layer_errors(
    model: Model,
    encodings: Encodings,
    insert: Insert,
    samples: Iterable[Arrays],
    *,
    effects_on: Sequence[Arrays] = (),
    effects_of: Collection[str] | None = None,
    progress: Progress | None = None,
    threads: int = 0,
) -> list[LayerError]:
    """Measure each layer's own error in one pass over the samples, and on request what it alone does at the outputs.

    Args:
        model: the float model; it stays as it is.
        encodings: of the quantized model, with the corrections that go with its weights.
        insert: writes encodings into a graph, as `insert-quantize-dequantize` does.
        samples: read once, for the own errors.
        effects_on: samples for the effects at the outputs; the model runs once for each of them and each layer. For
            outputs that data sizes stands what they are computed from.
        effects_of: names of the layers whose effects are of interest, all when None.
        progress: called after each run with the runs done and the total, None when unknown.
        threads: threads of the runtime, 0 for all cores.

    Returns:
        The layers in the order of the graph.
    """
    probe = probe_model(with_static_ends(model), encodings, insert)
    run = _Runs(probe, Session(probe.model, threads=threads), progress)
    signal, noise = defaultdict[str, float](float), defaultdict[str, float](float)
    for sample in samples:
        made = run(sample, [name for layer in probe.layers for name in (layer.signal, layer.noise)])
        for layer in probe.layers:
            signal[layer.name] += float(made[layer.signal])
            noise[layer.name] += float(made[layer.noise])
    effects: dict[str, dict[str, float]] = {}
    if effects_on:
        chosen = [layer for layer in probe.layers if effects_of is None or layer.name in effects_of]
        run.total = run.done + len(effects_on) * (len(chosen) + 1)
        reference = [run.outputs(sample) for sample in effects_on]
        for layer in chosen:
            got = [run.outputs(sample, layer.switch) for sample in effects_on]
            effects[layer.name] = relative_noise(reference, got)
    return [
        LayerError(
            layer.name, layer.op_type, _ratio(noise[layer.name], signal[layer.name]), effects.get(layer.name, {})
        )
        for layer in probe.layers
    ]


def relative_noise(reference: Iterable[Arrays], got: Iterable[Arrays]) -> dict[str, float]:
    """Return the noise of each float output: sum of squares of the difference over that of the reference."""
    signal, noise = defaultdict[str, float](float), defaultdict[str, float](float)
    for expected, actual in zip(reference, got, strict=True):
        for name, array in expected.items():
            if array.dtype.kind != "f":
                continue
            left, right = array.reshape(-1), actual[name].reshape(-1)
            signal[name] += 0.0  # an empty output has no noise
            for start in range(0, max(left.size, right.size), BLOCK):
                wanted = left[start : start + BLOCK].astype(np.float64)
                difference = right[start : start + BLOCK].astype(np.float64) - wanted
                signal[name] += float(wanted @ wanted)
                noise[name] += float(difference @ difference)
    return {name: _ratio(noise[name], signal[name]) for name in signal}


def _ratio(noise: float, signal: float) -> float:
    """Return noise over signal; infinite where there is no number, or no signal to compare with."""
    if not noise:
        return 0.0
    return noise / signal if signal > 0 and np.isfinite(noise) and np.isfinite(signal) else inf


class _Runs:
    """Runs the probe, and counts."""

    def __init__(self, probe: Probe, session: Session, progress: Progress | None) -> None:
        self._probe = probe
        self._session = session
        self._progress = progress
        self._off = {layer.switch: np.zeros((), np.bool_) for layer in probe.layers}
        self.done = 0
        self.total: int | None = None

    def __call__(self, sample: Arrays, names: Sequence[str], on: str = "") -> dict[str, np.ndarray]:
        switches = {**self._off, **({on: np.ones((), np.bool_)} if on else {})}
        made = self._session.run({**sample, **switches}, names)
        self.done += 1
        if self._progress is not None:
            self._progress(self.done, self.total)
        return made

    def outputs(self, sample: Arrays, on: str = "") -> dict[str, np.ndarray]:
        """Return the model's outputs by their own names, with one layer's error switched on."""
        named = self._probe.outputs
        made = self(sample, list(named.values()), on)
        return {name: made[inner] for name, inner in named.items()}
