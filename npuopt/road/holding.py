"""The weight-only part of the road: which weights become integers, and their rounding, with data or without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.errors import InputError, UsageError
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.quantization.encodings import Encodings
from npuopt.quantization.rounding.block_rounding import round_held_weights
from npuopt.quantization.rounding.cancellation import feedback
from npuopt.quantization.rounding.round_weights import MOST_FEATURES
from npuopt.quantization.rounding.weight_only import HeldWeights, held_weights
from npuopt.quantization.samples.data import open_samples
from npuopt.quantization.steps import StepRecord
from npuopt.quantization.steps.weights import LearnRounding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from npuopt.quantization.blocks import Blocks
    from npuopt.quantization.steps import IntegerStep
    from npuopt.road.options import CompileOptions, Say
    from npuopt.road.preparation import Prepared
    from npuopt.target import Target


def hold_weights(
    prepared: Prepared,
    target: Target,
    scheme: str,
    options: CompileOptions,
    precisions: Mapping[str, str],
    steps: Iterable[IntegerStep] = (),
    *,
    say: Say,
) -> tuple[Encodings, list[StepRecord]]:
    """Hold the prepared model's weights as a weight-only scheme says, or as given encodings do; return which and how.

    Nodes in `precisions`, named by what they make first, read weights that are held by another scheme. Of the steps,
    the one that learns rounding counts, and is on record.

    Raises:
        InputError: when given encodings do not fit, or hold more than weights.
        UsageError: when there is no weight to hold, or rounding is to be learned that is asked for otherwise.
    """
    if options.encodings is None:
        planned = held_weights(prepared.model, target, scheme, precisions)
        encodings = Encodings(
            target=target.name, scheme=scheme, tensors={}, precisions=dict(precisions), blocks=planned.blocks
        )
    else:
        planned, encodings = HeldWeights(), Encodings.load(options.encodings)
        if encodings.tensors or encodings.uses:
            where = str(options.encodings)
            raise InputError(f"encodings quantize activations, which {scheme} computes in float", where=where)
    if not encodings.blocks:
        why = next((f": {name}: {reason}" for name, reason in planned.left.items()), "")
        raise UsageError(f"there is no weight that {scheme} could hold{why}")
    say(f"rounding {len(encodings.blocks)} weights")
    learning = next((step for step in steps if isinstance(step, LearnRounding)), None)
    rounded = _rounded(prepared, encodings, options, learning, say)
    held = {"encodings": encodings, "left": planned.left, "rounding": options.rounding, "rounded": rounded}
    prepared.runner.run(prepared.model, [with_options(find_pass("insert-weight-dequantize"), held)])
    return encodings, [] if learning is None else [_record(learning, len(rounded))]


def _record(learning: LearnRounding, rounded: int) -> StepRecord:
    text = "layers' rounding learned" if rounded else "no data to learn rounding by"
    return StepRecord(learning.name, learning.model_dump(mode="json"), rounded, text)


def _rounded(
    prepared: Prepared, encodings: Encodings, options: CompileOptions, learning: LearnRounding | None, say: Say
) -> dict[str, Blocks]:
    """Round the weights of products by calibration data, where there is some and no other way is asked for."""
    if learning is not None and options.rounding != "least-squares":
        raise UsageError(f"step {learning.name} finds integers itself, which --rounding {options.rounding} asks for")
    rounder = feedback if learning is None else learning.rounder()
    if options.calibration is None or options.rounding != "least-squares":
        return {}
    samples = open_samples(options.calibration, prepared.model)

    def progress(done: int, total: int | None) -> None:
        say(f"rounding weights: sample {done}" + (f" of {total}" if total else ""))

    most_features = MOST_FEATURES if learning is None else learning.most_features
    return round_held_weights(
        prepared.model, encodings.blocks, samples, progress=progress, most_features=most_features, rounder=rounder
    )
