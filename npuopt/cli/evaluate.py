"""`npuopt evaluate`: how good a model is at its task, alone or against another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from npuopt.cli.option_groups import takes_groups
from npuopt.cli.options import JsonOption
from npuopt.cli.output import console, print_json, progress, table
from npuopt.cli.run import Engine

TaskOption = Annotated[
    str,
    typer.Option(
        "--task",
        help="perplexity, top1, agreement, f1, exact-match, cer, wer, bleu, rouge, embeddings, auc, or next-tokens for"
        " two language models.",
        metavar="TASK",
    ),
]


@dataclass(frozen=True, kw_only=True)
class IntervalOptions:
    """How sure the figures are, by drawing the samples again."""

    panel: ClassVar[str] = "The interval"

    resamples: Annotated[int, typer.Option("--resamples", min=1, max=100_000, help="Of the bootstrap.")] = 1000
    confidence: Annotated[float, typer.Option("--confidence", min=0.5, max=0.999, help="Of the interval.")] = 0.95
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap.")] = 0


@takes_groups
def evaluate_command(
    model: Annotated[Path, typer.Argument(help="An ONNX model, or an artifact's folder.", show_default=False)],
    data: Annotated[
        Path,
        typer.Option("--data", help="A .npz with inputs and references, or a .npy of token ids.", metavar="FILE"),
    ],
    *,
    task: TaskOption = "",
    metric: Annotated[
        str, typer.Option("--metric", help="A metric of your own: package.module:function.", metavar="FUNCTION")
    ] = "",
    against: Annotated[
        Path | None, typer.Option("--against", help="Another model or artifact, on the same samples.", metavar="MODEL")
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option("--encoder", help="The other half, where --against is an encoder-decoder's.", metavar="MODEL"),
    ] = None,
    output: Annotated[str | None, typer.Option("--output", help="The output to look at; the first by default.")] = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="What runs artifacts: model.onnx, or the compiled parts.")
    ] = Engine.cpu,
    window: Annotated[
        int, typer.Option("--window", min=1, help="Tokens at once, where the model leaves it open.")
    ] = 128,
    profile: Annotated[
        str | None,
        typer.Option("--profile", help="Of a compiled language model: read the text with this one, such as decode."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The most samples to run.")] = None,
    interval: IntervalOptions,
    json: JsonOption = False,
) -> None:
    """Measure MODEL by its task's metric; with --against, the paired difference and its confidence interval."""
    from npuopt import api

    options = api.EvaluateOptions(
        data=data,
        task=task,
        metric=metric,
        against=against,
        encoder=encoder,
        output=output,
        engine=engine.value,
        window=window,
        profile=profile,
        limit=limit,
        resamples=interval.resamples,
        confidence=interval.confidence,
        seed=interval.seed,
    )
    with progress() as say:
        report = api.evaluate(model, options, say=say)
    if json:
        print_json(report)
    elif "kl_divergence" in report:
        _print_next_tokens(report)
    else:
        _print(report)


def _print_next_tokens(report: dict[str, Any]) -> None:
    rows = table(f"Next tokens of {report['tokens']} against {report['against']}", "", "value", right=("value",))
    for name in ("perplexity", "reference_perplexity", "next_token_agreement", "kl_divergence"):
        rows.add_row(name.replace("_", " "), _number(report[name]))
    console().print(rows)


def _print(report: dict[str, Any]) -> None:
    interval = f"{report['confidence']:.0%} interval"
    title = (
        f"{report['metric']} ({'more' if report['more_is_better'] else 'less'} is better), {report['samples']} samples"
    )
    rows = table(title, "", "value", interval, right=("value", interval))
    compares = report["against"] is not None and "reference" not in report
    name = f"{report['model']} against {report['against']}" if compares else report["model"]
    rows.add_row(name, _number(report["value"]), _interval(report["interval"]))
    if "reference" in report:
        rows.add_row(report["against"], _number(report["reference"]), "")
        rows.add_row("difference", _number(report["difference"], "+"), _interval(report["difference_interval"], "+"))
    console().print(rows)


def _number(value: float | None, sign: str = "") -> str:
    return "not finite" if value is None else f"{value:{sign}.5g}"


def _interval(values: list[float | None] | None, sign: str = "") -> str:
    return "" if values is None else f"{_number(values[0], sign)} to {_number(values[1], sign)}"
