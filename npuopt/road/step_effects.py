"""Beside the road: what each quantization step is worth, by quantizing with it and without it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, cast

from npuopt.errors import UsageError
from npuopt.graph import input_at, is_constant, is_op
from npuopt.pipeline.runner import Runner
from npuopt.quantization import tensor_errors
from npuopt.quantization.channels.joint import LINEAR
from npuopt.road.preparation import Prepared
from npuopt.road.quantizing import check_quantized, quantize_model
from npuopt.road.stepping import read_step, steps_for

if TYPE_CHECKING:
    from npuopt.quantization import Samples
    from npuopt.road.options import CompileOptions, Say
    from npuopt.target import Target

MOST_CUT_OFF = 0.01
"""Layers of which more than this share is cut off are not counted: nobody behind them can tell it apart."""


@dataclass(frozen=True)
class Quality:
    """How near a quantized model is to the float model, on the verification samples.

    Attributes:
        without: the step that was left out; empty where all ran.
        output_sqnr_db: signal to noise of the worst output; None where it is equal.
        worst_layer: the Conv, Gemm or MatMul with the least signal to noise at its output, all earlier errors included.
        worst_layer_sqnr_db: that.
    """

    without: str
    output_sqnr_db: float | None
    worst_layer: str
    worst_layer_sqnr_db: float | None


def measure_steps(
    prepared: Prepared, target: Target, scheme: str, options: CompileOptions, *, say: Say
) -> list[Quality]:
    """Quantize copies of the prepared model: with all steps, then without each of them in turn.

    It takes as many quantizations as there are steps, and one more.

    Raises:
        UsageError: when the scheme has no steps to measure, or nothing may be run.
    """
    steps = steps_for(options, target.scheme(scheme))
    names = [step.name for step in (*steps.rewriting, *steps.deciding)]
    if not names or options.verify == "off":
        raise UsageError(f"scheme {scheme} has no quantization steps whose effect could be measured")
    found: list[Quality] = []
    for name in ("", *names):
        say(f"measuring without {name}" if name else "measuring with all steps")
        kept = tuple(text for text in options.steps if read_step(text).name != name)
        left_out = (*options.without_steps, name) if name else options.without_steps
        found.append(_quality(prepared, target, scheme, replace(options, steps=kept, without_steps=left_out), name))
    return found


def _quality(prepared: Prepared, target: Target, scheme: str, options: CompileOptions, without: str) -> Quality:
    runner = Runner(prepared.runner.target, "off", facts=set(prepared.runner.facts))
    copy = Prepared(prepared.model.clone(), runner)
    quantized = quantize_model(copy, target, scheme, options, keep_float=True, say=_unheard)
    outputs = check_quantized(copy.model, quantized)[0].outputs.values()
    levels = [output.sqnr_db for output in outputs if output.sqnr_db is not None]
    worst, level = "", inf
    if quantized.before is not None:
        floats = quantized.before.model
        layers = {
            node.outputs[0].name for node in floats.graph if is_op(node, *LINEAR) and is_constant(input_at(node, 1))
        }
        samples = cast("Samples", quantized.samples)  # a list of them does as well
        for error in tensor_errors(floats, copy.model, quantized.before.encodings, samples):
            if error.name in layers and error.saturated <= MOST_CUT_OFF and error.sqnr_db < level:
                worst, level = error.name, error.sqnr_db
    return Quality(without, min(levels, default=None), worst, None if level == inf else level)


def _unheard(text: str) -> None:
    del text
