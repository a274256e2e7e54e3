"""Where accuracy is lost: the error of every quantized tensor against the float model, on the same samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import is_constant, nodes, producer
from npuopt.quantization.arithmetic import saturation
from npuopt.quantization.calibration.taps import TAP_BYTES, portions, tapped_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from npuopt.graph import Model, Value
    from npuopt.quantization.encodings import Encodings


@dataclass(frozen=True)
class TensorError:
    """How far one tensor of the quantized model is from the float model's.

    Attributes:
        name: the tensor's name in the float model.
        dtype: the integer type that holds it.
        sqnr_db: signal to quantization noise, 10 log10(sum(float^2) / sum((float - quantized)^2)) over all samples,
            with all errors that earlier layers made; infinite where both are equal.
        saturated: share of the float model's numbers (0..1) that lie outside of what the encoding can represent.
        elements: how many numbers were compared.
    """

    name: str
    dtype: str
    sqnr_db: float
    saturated: float
    elements: int


def tensor_errors(
    float_model: Model,
    quantized_model: Model,
    encodings: Encodings,
    samples: Iterable[Mapping[str, np.ndarray]],
    *,
    tap_bytes: int = TAP_BYTES,
    threads: int = 0,
) -> list[TensorError]:
    """Compare every activation that both models compute, in the order of the graph.

    Both run as they are written, without the runtime's optimizations. Memory does not grow with the samples.

    Args:
        float_model: the model that the encodings were made for.
        quantized_model: the same with `insert-quantize-dequantize` applied.
        encodings: those that were inserted.
        samples: read once for each portion of `tap_bytes`.
        tap_bytes: bytes of activations of each model that are held at a time.
        threads: threads of the runtime, 0 for all cores.
    """
    held = quantized_activations(quantized_model)
    floats = {output.name or "": output for node in float_model.graph for output in node.outputs}
    common = [value for name, value in floats.items() if name in held and name in encodings.tensors]
    totals = {value.name or "": _Totals() for value in common}
    for portion in portions(common, tap_bytes):
        names = [value.name or "" for value in portion]
        reference = tapped_session(float_model, portion, optimize=False, threads=threads)
        quantized = tapped_session(quantized_model, [held[name] for name in names], optimize=False, threads=threads)
        for sample in samples:
            expected, got = reference.run(sample), quantized.run(sample)
            for name in names:
                outside = saturation(expected[name], encodings.tensors[name])
                totals[name].add(expected[name], got[held[name].name or ""], outside)
    return [totals[name].result(name, encodings.tensors[name].dtype) for name in totals]


def quantized_activations(model: Model) -> dict[str, Value]:
    """Return what readers of each quantized activation see, by the activation's name in the float model."""
    found: dict[str, Value] = {}
    for node in nodes(model, "DequantizeLinear"):
        quantizer = producer(node.inputs[0], "QuantizeLinear")
        raw = quantizer.inputs[0] if quantizer is not None else None
        if raw is None or is_constant(raw) or producer(raw, "DequantizeLinear") is not None:
            continue  # a constant, or the conversion of a single use
        seen = node.outputs[0]
        found[(seen.name if seen.is_graph_output() else raw.name) or ""] = seen
    return found


@dataclass
class _Totals:
    """Sums over the samples so far."""

    signal: float = 0.0
    noise: float = 0.0
    outside: float = 0.0
    elements: int = field(default=0)

    def add(self, expected: np.ndarray, got: np.ndarray, outside: float) -> None:
        """Take in one sample."""
        wanted = expected.astype(np.float64).reshape(-1)
        difference = got.astype(np.float64).reshape(-1) - wanted
        self.signal += float(wanted @ wanted)
        self.noise += float(difference @ difference)
        self.outside += outside * wanted.size
        self.elements += wanted.size

    def result(self, name: str, dtype: str) -> TensorError:
        """Return the tensor's line of the table."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.float64(self.signal) / np.float64(self.noise) if self.noise else np.inf
            sqnr = float(10 * np.log10(ratio))
        return TensorError(name, dtype, sqnr, self.outside / self.elements if self.elements else 0.0, self.elements)
