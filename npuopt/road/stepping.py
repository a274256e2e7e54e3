"""Runs the named steps of quantization: those that rewrite the float model, then those that decide about integers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npuopt.errors import InputError, UsageError
from npuopt.pipeline.catalogue import PASS_CALL, find_pass, with_options
from npuopt.pipeline.option_text import parse_options
from npuopt.quantization import Encodings
from npuopt.quantization.samples.data import RANDOM
from npuopt.quantization.steps import Held, StepRecord, choose_steps, make_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from npuopt.pipeline import Report
    from npuopt.quantization.steps import FloatStep, IntegerStep, Rewrite, Step, Work
    from npuopt.road.options import CompileOptions
    from npuopt.road.preparation import Prepared
    from npuopt.target.schema import Scheme

REWRITES = frozenset(
    {
        "fold-residual-rotation",
        "fold-running-sum-scale",
        "insert-row-scales",
        "lower-gelu-to-sigmoid",
        "lower-hard-swish-to-clip",
        "move-channel-scales",
        "split-outlier-channels",
        "split-products",
    }
)
"""Passes that an encodings file may ask for."""


@dataclass(frozen=True)
class Steps:
    """The steps that are to run.

    Attributes:
        rewriting: on the float model, in order.
        deciding: once there are encodings, in order.
    """

    rewriting: Sequence[FloatStep] = field(default_factory=list["FloatStep"])
    deciding: Sequence[IntegerStep] = field(default_factory=list["IntegerStep"])


def read_step(text: str) -> Step:
    """Build a step from `name` or `name{option=value,option=value}`; see npuopt.pipeline.option_text.

    Raises:
        UsageError: when the name, an option or a value is wrong.
    """
    match = PASS_CALL.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no quantization step", hint="write it as name or name{option=value}")
    return make_step(match["name"], parse_options(match["options"] or "", text))


def steps_for(options: CompileOptions, scheme: Scheme) -> Steps:
    """Return the steps that a scheme gets with these options; with random data only those that were asked for.

    What a step learns from noise is worth nothing, and learning takes longer than all else.

    Raises:
        UsageError: when a step is wrong, or asked for where it cannot run.
    """
    wanted = [read_step(text) for text in options.steps]
    rewriting, deciding = choose_steps(scheme, wanted, options.without_steps)
    if scheme.is_weight_only and options.encodings is None:
        rounding = [step for step in deciding if step in wanted and step.rounds_blocks]
        strangers = [step.name for step in wanted if step not in rewriting and step not in rounding]
        if strangers:
            raise UsageError(f"step {strangers[0]} does not run where activations stay float")
        chosen = [step for step in rewriting if step in wanted or scheme.activation in step.serves_floats]
        return Steps(chosen, rounding)
    if scheme.is_float:
        if wanted:
            raise UsageError(f"a float scheme quantizes nothing, so step {wanted[0].name} cannot run")
        return Steps()
    if scheme.is_float8:
        if wanted:
            raise UsageError(f"step {wanted[0].name} is for integers, and the scheme's operands are floats of 8 bits")
        return Steps()
    if options.encodings is None:
        if options.calibration == RANDOM:
            return Steps([step for step in rewriting if step in wanted], [step for step in deciding if step in wanted])
        return Steps(rewriting, deciding)
    keeping = [step for step in deciding if step.keeps_encodings]
    refused = [step.name for step in wanted if step not in keeping]
    if refused:
        raise UsageError(f"step {refused[0]} chooses encodings, and they are given", hint="leave out one of the two")
    return Steps((), keeping)


def rewrite_float(
    prepared: Prepared, work: Work, steps: Iterable[FloatStep], *, ahead: Callable[[], None] | None = None
) -> tuple[list[Rewrite], list[StepRecord]]:
    """Run the float steps on the prepared model, in place; return what was done, and its records.

    `ahead` is called once, before the first of them that has something to rewrite does so.
    """
    done: list[Rewrite] = []
    records: list[StepRecord] = []
    for step in steps:
        rewrites = list(step.rewrites(work))
        if rewrites and not done and ahead is not None:
            ahead()
        reports = run_rewrites(prepared, rewrites)
        done += rewrites
        changed = sum(len(report.changed) for report in reports)
        texts = [", ".join((f"{each.name}: {len(each.changed)} changed", *each.notes)) for each in reports]
        text = "; ".join(dict.fromkeys(texts))
        records.append(StepRecord(step.name, step.model_dump(mode="json"), changed, text or "nothing to gain"))
    return done, records


def rewrite_or_repeat(
    prepared: Prepared, work: Work, given: Path | None, steps: Iterable[FloatStep]
) -> tuple[tuple[Rewrite, ...], list[StepRecord]]:
    """Run the float steps on the prepared model, or what the encodings file that is given says was done to it."""
    if given is None:
        done, records = rewrite_float(prepared, work, steps)
        return tuple(done), records
    rewrites = Encodings.load(given).rewrites
    run_rewrites(prepared, rewrites)
    return rewrites, []


def run_rewrites(prepared: Prepared, rewrites: Iterable[Rewrite]) -> list[Report]:
    """Run the passes of rewrites on the prepared model, in place.

    Raises:
        InputError: when one is none of `REWRITES`, which only an encodings file can bring about.
    """
    reports: list[Report] = []
    for rewrite in rewrites:
        if rewrite.pass_name not in REWRITES:
            raise InputError(
                f"encodings ask for pass {rewrite.pass_name!r}", hint=f"they may ask for {', '.join(sorted(REWRITES))}"
            )
        made = with_options(find_pass(rewrite.pass_name), rewrite.options)
        reports += prepared.runner.run(prepared.model, [made])
    return reports


def decide(work: Work, held: Held, steps: Iterable[IntegerStep]) -> tuple[Held, list[StepRecord]]:
    """Run the steps that decide about integers; return how numbers are held after them, and their records."""
    records: list[StepRecord] = []
    for step in steps:
        applied = step.apply(work, held)
        held = applied.held
        records.append(StepRecord(step.name, step.model_dump(mode="json"), applied.changed, applied.text))
    return held, records
