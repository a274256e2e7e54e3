"""The quantized part of the road for models that bring their encodings along: nothing is chosen, all is placed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from npuopt.errors import UsageError
from npuopt.graph import load
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.quantization.incoming.foreign_export import foreign_text
from npuopt.quantization.incoming.keeping import kept_encodings
from npuopt.road.compilation import reference_runs
from npuopt.road.float_runs import verification_samples
from npuopt.road.quantizing import Quantized, quantize_model

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.quantization import Encodings
    from npuopt.quantization.incoming.foreign_export import Format
    from npuopt.road.importing import Source
    from npuopt.road.options import CompileOptions, Say
    from npuopt.road.preparation import Prepared
    from npuopt.target import Target


def quantize_or_keep(
    path: Path,
    source: Source,
    prepared: Prepared,
    target: Target,
    options: CompileOptions,
    *,
    halve: bool = False,
    say: Say,
) -> Quantized:
    """Quantize a prepared model in place; put a model's own encodings where the target wants them, if it has some.

    Args:
        path: the source model, which what keeps its encodings is compared with.
        source: how it came.
        prepared: its float graph.
        target: where it is to run.
        options: the precision, and what there is to quantize with.
        halve: write a model of a scheme of 16-bit floats in that type.
        say: told what is being done.

    Raises:
        UsageError: when steps are asked for that would choose encodings or weights anew.
    """
    if source.incoming is None:
        beside = options.form == "encodings"
        return quantize_model(prepared, target, source.scheme, options, keep_float=beside, halve=halve, say=say)
    if options.steps:
        raise UsageError(
            f"step {options.steps[0]} would change a model that is quantized already",
            hint="--requantize with --calibration quantizes it anew",
        )
    kept = kept_encodings(prepared.model, target, source.scheme, source.incoming)
    kept = replace(kept, unmatched=source.unmatched)
    quantized = Quantized(encodings=kept.encodings, kept=kept)
    if options.verify != "off":
        say("running the source model")
        quantized.samples = verification_samples(prepared, options)
        quantized.optimized = reference_runs(path, prepared, quantized.samples)
    say("inserting quantize and dequantize")
    held = {"encodings": kept.encodings, "integers": kept.integers}
    insert = with_options(find_pass("insert-quantize-dequantize"), held)
    limit = with_options(find_pass("insert-clips"), {"limits": kept.limits})
    prepared.runner.run(prepared.model, [insert, limit, find_pass("split-clips")()])
    return quantized


def encodings_text(encodings: Encodings, source: Path, prepared: Prepared, kind: Format) -> tuple[str, list[str]]:
    """Return a file of encodings as a tool reads it, and the tensors that it cannot name.

    Args:
        encodings: by the names of the prepared model.
        source: the model whose tensors' names other tools' formats use.
        prepared: the model that the encodings are for.
        kind: the format.
    """
    if kind == "npuopt":
        return encodings.to_json(), []
    return foreign_text(encodings, load(source), prepared.model, kind)
