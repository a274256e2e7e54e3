"""The quantized part of the road: ranges from data, encodings from ranges, Q/DQ from encodings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npuopt.compilation import model_runs
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.pipeline.recipes import BEFORE_CALIBRATION
from npuopt.preparation import AS_THEY_ARE
from npuopt.quantization import Encodings, calibrate, encodings_for
from npuopt.quantization.data import open_samples
from npuopt.verify import seeded_inputs

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from npuopt.options import CompileOptions, Say
    from npuopt.preparation import Prepared
    from npuopt.target import Target

    Arrays = dict[str, np.ndarray]

ENCODINGS_FILE = "encodings.json"


@dataclass
class Quantized:
    """What quantization did, and what the float model computed before it.

    Attributes:
        encodings: None where the scheme is a float one.
        calibration_samples: how many samples the ranges come from; 0 when the encodings were given.
        samples: those that every stage is compared on.
        optimized: the prepared float model's outputs on them.
    """

    encodings: Encodings | None = None
    calibration_samples: int = 0
    samples: list[Arrays] = field(default_factory=list["Arrays"])
    optimized: list[Arrays] = field(default_factory=list["Arrays"])

    def write(self, folder: Path) -> None:
        """Write the encodings, if any, as `encodings.json`."""
        if self.encodings is not None:
            self.encodings.save(folder / ENCODINGS_FILE)


def quantize_model(prepared: Prepared, target: Target, scheme: str, options: CompileOptions, *, say: Say) -> Quantized:
    """Quantize the prepared model in place, when the scheme asks for it, and remember what it computed in float."""
    quantized = Quantized()
    if not target.scheme(scheme).is_float:
        prepared.runner.run(prepared.model, AS_THEY_ARE.make(BEFORE_CALIBRATION))
    if options.verify != "off":
        say("running the optimized model")
        quantized.samples = verification_samples(prepared, options)
        quantized.optimized = model_runs(prepared.model, quantized.samples)
    if target.scheme(scheme).is_float:
        return quantized
    if options.encodings is not None:
        quantized.encodings = Encodings.load(options.encodings)
        quantized.encodings.check(prepared.model)
    else:
        quantized.encodings, quantized.calibration_samples = _calibrated(prepared, target, scheme, options, say)
    say("inserting quantize and dequantize")
    insert = with_options(find_pass("insert-quantize-dequantize"), {"encodings": quantized.encodings})
    prepared.runner.run(prepared.model, [insert])
    return quantized


def verification_samples(prepared: Prepared, options: CompileOptions) -> list[Arrays]:
    """Return the first samples of the calibration data, or seeded ones where there is none."""
    if options.calibration is None:
        return [seeded_inputs(prepared.model, seed) for seed in range(options.samples)]
    found: list[Arrays] = []
    for sample in open_samples(options.calibration, prepared.model):
        found.append(dict(sample))
        if len(found) == options.samples:
            break
    return found


def _calibrated(
    prepared: Prepared, target: Target, scheme: str, options: CompileOptions, say: Say
) -> tuple[Encodings, int]:
    samples = open_samples(options.calibration, prepared.model)

    def progress(done: int, total: int | None) -> None:
        say(f"calibrating: sample {done}" + (f" of {total}" if total else ""))

    ranges = calibrate(prepared.model, samples, progress=progress)
    return encodings_for(prepared.model, target, scheme, ranges), ranges.samples
