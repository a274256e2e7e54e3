"""`npuopt tune`: the quantized model learns from the float one, on data without labels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from npuopt.cli.option_groups import takes_groups
from npuopt.cli.options import (
    DimOption,
    JsonOption,
    ModelArgument,
    PassFileOption,
    PrecisionOption,
    TargetOption,
    parse_dims,
)
from npuopt.cli.output import comparison_table, console, print_json, progress

if TYPE_CHECKING:
    from npuopt.tuning.options import TuningOptions


class Loss(StrEnum):
    """How outputs are compared."""

    kl = "kl"
    error = "error"


class Sparsity(StrEnum):
    """Which weights must be zero."""

    none = "none"
    two_of_four = "2:4"


@dataclass(frozen=True, kw_only=True)
class LearningOptions:
    """How the student learns."""

    panel: ClassVar[str] = "Learning"

    epochs: Annotated[int, typer.Option("--epochs", min=1, help="How often each sample is seen.")] = 4
    batch: Annotated[int, typer.Option("--batch", min=1, help="Samples for each step.")] = 4
    weight_rate: Annotated[
        float, typer.Option("--weight-rate", min=0, help="Learning rate of weights, relative to their size.")
    ] = 1e-3
    scale_rate: Annotated[
        float, typer.Option("--scale-rate", min=0, help="Learning rate of scales, relative to their size.")
    ] = 1e-3
    loss: Annotated[Loss, typer.Option("--loss", help="Compare logits by divergence, or outputs by error.")] = Loss.kl
    inner: Annotated[
        list[str] | None,
        typer.Option("--inner", help="An inner tensor that is to be like the float model's too.", metavar="TENSOR"),
    ] = None
    inner_weight: Annotated[float, typer.Option("--inner-weight", min=0, help="What inner tensors count.")] = 1.0
    sparsity: Annotated[Sparsity, typer.Option("--sparsity", help="Keep two weights of four.")] = Sparsity.none
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the order of samples.")] = 0

    def tuning_options(self) -> TuningOptions:
        """Return what was asked for, as tuning takes it."""
        from npuopt.tuning.options import TuningOptions

        return TuningOptions(
            epochs=self.epochs,
            batch=self.batch,
            weight_rate=self.weight_rate,
            scale_rate=self.scale_rate,
            loss=self.loss.value,
            inner=tuple(self.inner or ()),
            inner_weight=self.inner_weight,
            sparsity=self.sparsity.value,
            seed=self.seed,
        )


@takes_groups
def tune_command(
    model: ModelArgument,
    target: TargetOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The quantized model.", metavar="OUT.onnx")],
    calibration: Annotated[
        str,
        typer.Option("--calibration", help="Samples without labels to calibrate with and learn from.", metavar="DATA"),
    ],
    *,
    held_out: Annotated[
        str | None,
        typer.Option(
            "--held-out",
            help="Samples to choose the best epoch by, instead of an eighth of those that are learned from.",
            metavar="DATA",
        ),
    ] = None,
    dim: DimOption = None,
    precision: PrecisionOption = "auto",
    save_encodings: Annotated[
        Path | None, typer.Option("--save-encodings", help="Write the learned encodings as JSON.", metavar="FILE")
    ] = None,
    float_output: Annotated[
        Path | None,
        typer.Option(
            "--float-output",
            help="Write the tuned model in float; compile it with --encodings to get the same numbers.",
            metavar="FLOAT.onnx",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option("--teacher", help="Agree with this model instead, as it was before pruning.", metavar="ONNX"),
    ] = None,
    pass_file: PassFileOption = None,
    learning: LearningOptions,
    json: JsonOption = False,
) -> None:
    """Quantize MODEL for a target and tune it to agree with its float self; needs the `tune` extra (torch)."""
    from npuopt.road.distilling import TunedFiles, tune
    from npuopt.road.options import CompileOptions

    options = CompileOptions(
        dims=parse_dims(dim), precision=precision, calibration=calibration, pass_files=tuple(pass_file or ())
    )
    with progress() as say:
        files = TunedFiles(output, save_encodings, float_output)
        tuning = learning.tuning_options()
        result = tune(model, target, files, options, tuning, teacher=teacher, held_out=held_out, say=say)
    if json:
        print_json(result)
    else:
        print_tuned(result, learning.epochs)


def print_tuned(result: dict[str, Any], epochs: int) -> None:
    """Say what was learned, and how the quantized model compares with the float one."""
    before, after = result["losses"][0], result["losses"][result["best"]]
    kept = f"epoch {result['best']} of {epochs} is kept" if result["best"] else "nothing learned was any better"
    console().print(
        f"{result['output']}: scheme {result['scheme']}, {result['nodes']} nodes; distance from the float model on"
        f" held-out samples {before:.4g} -> {after:.4g}; {kept}",
        markup=False,
    )
    console().print(comparison_table(f"quantized against float, {result['samples']} samples", result["outputs"]))
