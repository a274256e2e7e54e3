"""Beside the road: what each layer of a quantized model costs in accuracy, ranked."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any

from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.quantization import open_samples, tensor_errors
from npuopt.quantization.accuracy.sensitivity import LayerError, decibels, layer_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from npuopt.graph import Model
    from npuopt.quantization import Encodings, TensorError
    from npuopt.road.options import Say

    Arrays = dict[str, np.ndarray]

EFFECT_SAMPLES = 2
"""Samples on which each layer's effect on the outputs is looked at: the model runs once for each and each layer."""


@dataclass(frozen=True)
class Unquantized:
    """A model just ahead of its quantization.

    Attributes:
        model: the float model.
        encodings: what its tensors are to be held in, with the corrections that go with its weights.
        integers: arrays that constants are to be held as, where they are not rounded to the nearest, by name.
    """

    model: Model
    encodings: Encodings
    integers: Mapping[str, np.ndarray]

    def insert(self, model: Model, encodings: Encodings) -> None:
        """Write other encodings of the same constants into a copy of the model."""
        held = {"encodings": encodings, "integers": self.integers}
        with_options(find_pass("insert-quantize-dequantize"), held)(model)

    def quantized(self) -> Model:
        """Return the quantized model."""
        made = self.model.clone()
        self.insert(made, self.encodings)
        return made


@dataclass(frozen=True)
class LayerSensitivity:
    """One line of the table.

    Attributes:
        error: the layer's own error, and what that alone does at the outputs.
        upto: the error of its tensor in the quantized model, with all that earlier layers made; None where it is not
            held as integers.
        scheme: what the node is computed in.
    """

    error: LayerError
    upto: TensorError | None
    scheme: str

    @property
    def rank(self) -> float:
        """The ratio in dB that the table is sorted by: at the worst output where known, else its own."""
        at_output = self.error.at_output_db
        return self.error.own_db if at_output is None else at_output

    def to_json(self) -> dict[str, Any]:
        """Return the line; ratios in dB, None where there is no error at all."""
        return {
            "name": self.error.name,
            "op_type": self.error.op_type,
            "scheme": self.scheme,
            "own_sqnr_db": _finite(self.error.own_db),
            "accumulated_sqnr_db": None if self.upto is None else _finite(self.upto.sqnr_db),
            "saturated": None if self.upto is None else self.upto.saturated,
            "output_sqnr_db": {name: _finite(decibels(noise)) for name, noise in self.error.at_outputs.items()},
        }


def layer_sensitivities(
    before: Unquantized, samples: Sequence[Arrays], *, at_outputs: bool, say: Say
) -> list[LayerSensitivity]:
    """Measure every layer, the most harmful first.

    Args:
        before: the model ahead of its quantization.
        samples: the own errors and those up to each layer come from all of them, effects from the first few.
        at_outputs: look at what each layer alone does at the outputs, too, and rank by that.
        say: told what is being done.
    """
    encodings = before.encodings
    errors = layer_errors(
        before.model,
        encodings,
        before.insert,
        samples,
        effects_on=samples[:EFFECT_SAMPLES] if at_outputs else (),
        progress=lambda done, total: say(f"layer by layer: run {done}" + (f" of {total}" if total else "")),
    )
    say("comparing tensor by tensor")
    table = tensor_errors(before.model, before.quantized(), encodings, samples)
    upto = {line.name: line for line in table}
    lines = [
        LayerSensitivity(error, upto.get(error.name), encodings.precisions.get(error.name, encodings.scheme))
        for error in errors
    ]
    return sorted(lines, key=lambda line: line.rank)


def rank_layers(
    before: Unquantized,
    calibration: Any,  # noqa: ANN401 -- as in CompileOptions
    count: int,
    *,
    at_outputs: bool,
    say: Say,
) -> dict[str, Any]:
    """Measure every layer on the first `count` samples of the calibration data; return what goes into JSON."""
    samples = [dict(sample) for sample in islice(open_samples(calibration, before.model), count)]
    layers = layer_sensitivities(before, samples, at_outputs=at_outputs, say=say)
    return {"samples": len(samples), "layers": [layer.to_json() for layer in layers]}


def _finite(ratio: float) -> float | None:
    return ratio if isfinite(ratio) else None
