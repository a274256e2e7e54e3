"""The quantized part of the road for models that bring their encodings along: nothing is chosen, all is placed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.compilation import reference_runs
from npuopt.errors import UsageError
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.quantization.keeping import kept_encodings
from npuopt.quantizing import Quantized, verification_samples

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.options import CompileOptions, Say
    from npuopt.preparation import Prepared
    from npuopt.quantization.incoming import Incoming
    from npuopt.target import Target


@dataclass(frozen=True)
class Arrival:
    """Encodings, and the model that they came in.

    Attributes:
        path: the quantized model, which the result is compared with.
        incoming: its encodings.
    """

    path: Path
    incoming: Incoming


def keep_model(
    prepared: Prepared, target: Target, scheme: str, arrival: Arrival, options: CompileOptions, *, say: Say
) -> Quantized:
    """Put a model's own encodings into its prepared float graph, in place, where the target wants them.

    Raises:
        UsageError: when steps are asked for that would choose encodings or weights anew.
    """
    if options.steps:
        raise UsageError(
            f"step {options.steps[0]} would change a model that is quantized already",
            hint="--requantize with --calibration quantizes it anew",
        )
    kept = kept_encodings(prepared.model, target, scheme, arrival.incoming)
    quantized = Quantized(encodings=kept.encodings, kept=kept)
    if options.verify != "off":
        say("running the source model")
        quantized.samples = verification_samples(prepared, options)
        quantized.optimized = reference_runs(arrival.path, prepared, quantized.samples)
    say("inserting quantize and dequantize")
    held = {"encodings": kept.encodings, "integers": kept.integers}
    insert = with_options(find_pass("insert-quantize-dequantize"), held)
    limit = with_options(find_pass("insert-clips"), {"limits": kept.limits})
    prepared.runner.run(prepared.model, [insert, limit])
    return quantized
