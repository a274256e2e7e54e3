"""The weight-only part of the road: which weights become integers, and their rounding, with data or without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.errors import InputError, UsageError
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.quantization.encodings import Encodings
from npuopt.quantization.rounding.block_rounding import round_held_weights
from npuopt.quantization.rounding.weight_only import HeldWeights, held_weights
from npuopt.quantization.samples.data import open_samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.quantization.blocks import Blocks
    from npuopt.road.options import CompileOptions, Say
    from npuopt.road.preparation import Prepared
    from npuopt.target import Target


def hold_weights(
    prepared: Prepared,
    target: Target,
    scheme: str,
    options: CompileOptions,
    *,
    precisions: Mapping[str, str],
    say: Say,
) -> Encodings:
    """Hold the prepared model's weights as a weight-only scheme says, or as given encodings do; return which and how.

    Nodes in `precisions`, named by what they make first, read weights that are held by another scheme.

    Raises:
        InputError: when given encodings do not fit, or hold more than weights.
        UsageError: when there is no weight to hold.
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
    rounded = _rounded(prepared, encodings, options, say)
    held = {"encodings": encodings, "left": planned.left, "rounding": options.rounding, "rounded": rounded}
    prepared.runner.run(prepared.model, [with_options(find_pass("insert-weight-dequantize"), held)])
    return encodings


def _rounded(prepared: Prepared, encodings: Encodings, options: CompileOptions, say: Say) -> dict[str, Blocks]:
    """Round the weights of products by calibration data, where there is some and no other way is asked for."""
    if options.calibration is None or options.rounding != "least-squares":
        return {}
    samples = open_samples(options.calibration, prepared.model)

    def progress(done: int, total: int | None) -> None:
        say(f"rounding weights: sample {done}" + (f" of {total}" if total else ""))

    return round_held_weights(prepared.model, encodings.blocks, samples, progress=progress)
