"""Beside the road: how good a model is at its task, and whether another one is better on the same samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from npuopt.delegates.contract import Limits
from npuopt.errors import InputError, UsageError
from npuopt.evaluate.custom import CustomMetric
from npuopt.evaluate.references import read_references
from npuopt.evaluate.scores import Scores, confidence_interval
from npuopt.evaluate.tasks import TASKS, Task
from npuopt.evaluate.token_samples import perplexity_samples
from npuopt.graph import load
from npuopt.graph.execution import Session
from npuopt.quantization.samples.archives import ArchiveSource
from npuopt.quantization.samples.data import Samples
from npuopt.quantization.samples.inputs import InputSpec, input_specs
from npuopt.road.answering import compare_answers
from npuopt.road.options import Say, silent
from npuopt.road.speaking import (
    NEXT_TOKENS,
    answers_sources,
    compare_next_tokens,
    is_language_model,
    language_windows,
)
from npuopt.runtime import Artifact, Engine
from npuopt.runtime.artifact import MODEL_FILE

if TYPE_CHECKING:
    from npuopt.graph import Model

Array: TypeAlias = "np.ndarray"
Arrays: TypeAlias = "dict[str, Array]"

ON_DEVICE_AT_ONCE = 32
"""Samples that go to a vendor's simulator in one run."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of `evaluate`.

    Attributes:
        data: a .npz with the model's inputs and what they are held against, or a .npy of token ids.
        task: one of `npuopt.evaluate.tasks.TASKS`, or empty when `metric` is given.
        metric: `package.module:function` of the user's.
        against: another model or artifact for the same samples.
        encoder: the other half, where `against` is the decoder of an encoder-decoder.
        output: the output to look at; the first one where None.
        engine: what runs artifacts.
        window: tokens for each window of a text, where the model leaves it open.
        profile: of a compiled language model: read a text with this one only; as generation reads where None.
        limit: the most samples to run; all where None.
        resamples: of the bootstrap.
        confidence: of its interval.
        seed: of its draw.
        time_limit: seconds for each vendor tool run.
    """

    data: Path
    task: str = ""
    metric: str = ""
    against: Path | None = None
    encoder: Path | None = None
    output: str | None = None
    engine: Engine = "cpu"
    window: int = 128
    profile: str | None = None
    limit: int | None = None
    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0
    time_limit: float = 900.0


def evaluate(model: Path, options: EvaluateOptions, *, say: Say = silent) -> dict[str, Any]:
    """Measure a model, and another one on the same samples; returns what `evaluate --json` prints.

    The difference is the model's metric less the other's. Its interval comes from resamples that both share.

    Raises:
        UsageError: when the task does not exist or lacks something, or the user's metric fails.
        InputError: when the data does not fit.
        ToolchainMissingError: when the task's library is not installed.
    """
    if options.task == NEXT_TOKENS:
        return _next_tokens(model, options, say)
    task = _task(options)
    references = read_references(options.data)
    if options.task == "perplexity" and "tokens" in references:
        references["targets"] = np.empty(0)  # made of the tokens, for each model's window
    for name in task.needs:
        if name not in references or not references[name].ndim:
            raise InputError(f"task {options.task} needs the array {name} in it", where=str(options.data))
    own = _measured(model, task, references, options, say)
    other = None if options.against is None else _measured(options.against, task, references, options, say)
    say("resampling")
    scores = _scores(task, own, other, references, options)
    return _report(model, task, scores, options)


def _task(options: EvaluateOptions) -> Task:
    """Return what is to be done."""
    if bool(options.task) == bool(options.metric):
        raise UsageError("give either --task or --metric", hint=f"tasks: {', '.join((*TASKS, NEXT_TOKENS))}")
    if options.metric:
        return CustomMetric(options.metric).task()
    if options.task not in TASKS:
        raise UsageError(f"there is no task {options.task!r}", hint=f"there are {', '.join((*TASKS, NEXT_TOKENS))}")
    task = TASKS[options.task]
    if task.compare is not None and options.against is None:
        raise UsageError(f"{options.task} compares two models", hint="give the other one with --against")
    return task


def _measured(path: Path, task: Task, references: Mapping[str, Array], options: EvaluateOptions, say: Say) -> list[Any]:
    """Run a model on all samples and return what the task keeps of each output."""
    if is_language_model(path):
        runs, known = _language_runs(path, references, options)
    else:
        folder = path if path.is_dir() else None
        model = load(path / MODEL_FILE if folder else path)
        samples, known = _samples(model, references, options)
        runs = _runs(path, folder is not None, samples, options)
    read = task.read({**references, **known})
    kept: list[Any] = []
    for index, (sample, outputs) in enumerate(runs):
        name = options.output or next(iter(outputs))
        if name not in outputs:
            raise UsageError(f"{path} has no output {name!r}", hint=f"it has {', '.join(outputs)}")
        kept.append(read(outputs[name], index, sample))
        if index % 100 == 0:
            say(f"running {path}: sample {index + 1}")
    for name in task.needs:
        expected = len({**references, **known}[name])
        if expected != len(kept) and options.limit is None:
            raise InputError(f"{len(kept)} samples, but {name} has {expected}", where=str(options.data))
    return kept


def _next_tokens(model: Path, options: EvaluateOptions, say: Say) -> dict[str, Any]:
    references = read_references(options.data)
    if options.against is not None and answers_sources(model):
        return compare_answers(
            model,
            options.against,
            references,
            encoder=options.encoder,
            limit=options.limit,
            profile=options.profile,
            engine=options.engine,
            say=say,
        )
    if options.against is None or "tokens" not in references:
        raise UsageError(f"{NEXT_TOKENS} compares two models on tokens", hint="give --against, and a .npy as --data")
    return compare_next_tokens(
        model,
        options.against,
        references["tokens"],
        window=options.window,
        limit=options.limit,
        profile=options.profile,
        engine=options.engine,
        say=say,
    )


def _language_runs(
    path: Path, references: Mapping[str, Array], options: EvaluateOptions
) -> tuple[Iterator[tuple[Arrays, Arrays]], Arrays]:
    """Return the windows of a text with a compiled language model's logits, and the tokens that follow."""
    if answers_sources(path):
        raise UsageError(f"an encoder-decoder is evaluated by --task {NEXT_TOKENS}", where=str(path))
    if "tokens" not in references:
        raise UsageError("a compiled language model is evaluated on tokens", hint="give a .npy of token ids as --data")
    limits = Limits(seconds=options.time_limit)
    runs, targets = language_windows(
        path,
        references["tokens"],
        window=options.window,
        profile=options.profile,
        engine=options.engine,
        limits=limits,
    )
    return (run for _, run in zip(range(options.limit or len(targets)), runs, strict=False)), {"targets": targets}


def _samples(
    model: Model, references: Mapping[str, Array], options: EvaluateOptions
) -> tuple[Iterator[Arrays], Arrays]:
    """Return the samples for a model, and the references that are made along with them."""
    if options.task == "perplexity" and "tokens" in references:
        made, targets = perplexity_samples(input_specs(model), references["tokens"], options.window)
        return _limited(made, options), {"targets": targets}
    inputs = _one_at_a_time(input_specs(model))
    return _limited(iter(Samples(inputs, ArchiveSource([options.data], inputs), str(options.data))), options), {}


def _one_at_a_time(inputs: tuple[InputSpec, ...]) -> tuple[InputSpec, ...]:
    """Return the inputs with a batch of one, where all of them have a leading dim that is free."""
    if all(len(one.shape) > 1 and one.shape[0] is None for one in inputs):
        return tuple(replace(one, shape=(1, *one.shape[1:])) for one in inputs)
    return inputs


def _limited(samples: Iterator[Arrays], options: EvaluateOptions) -> Iterator[Arrays]:
    for index, sample in enumerate(samples):
        if index == options.limit:
            return
        yield sample


def _runs(
    path: Path, is_artifact: bool, samples: Iterator[Arrays], options: EvaluateOptions
) -> Iterator[tuple[Arrays, Arrays]]:
    """Yield each sample with the model's outputs."""
    if not is_artifact:
        session = Session(path)
        yield from ((sample, session.run(sample)) for sample in samples)
        return
    artifact = Artifact.open(path)
    if options.engine == "cpu":
        session = Session(path / MODEL_FILE)
        yield from ((sample, session.run(sample)) for sample in samples)
        return
    names = [value.name or "" for value in load(path / MODEL_FILE).graph.outputs]
    while few := [sample for _, sample in zip(range(ON_DEVICE_AT_ONCE), samples, strict=False)]:
        made = artifact.run(few, engine="device", limits=Limits(seconds=options.time_limit))
        for sample, outputs in zip(few, made, strict=True):
            yield sample, {name: outputs[name] for name in names if name in outputs}


def _scores(
    task: Task,
    own: Sequence[Any],
    other: Sequence[Any] | None,
    references: Mapping[str, Array],
    options: EvaluateOptions,
) -> tuple[Scores, Scores | None]:
    """Turn what was kept into scores: of one model, of two, or of one by the other."""
    if other is not None and len(own) != len(other):
        raise InputError(f"{len(own)} samples of the one model and {len(other)} of the other", where=str(options.data))
    if not own:
        raise InputError("there are no samples in it", where=str(options.data))
    if task.compare is not None and other is not None:
        return task.compare(own, other), None
    if task.score is None:
        raise UsageError(f"{options.task} compares two models", hint="give the other one with --against")
    data = {**references, **{name: references[name][: len(own)] for name in task.needs if len(references[name])}}
    return task.score(own, data), None if other is None else task.score(other, data)


def _report(model: Path, task: Task, scores: tuple[Scores, Scores | None], options: EvaluateOptions) -> dict[str, Any]:
    own, other = scores
    bootstrap: dict[str, Any] = {
        "confidence": options.confidence,
        "resamples": options.resamples,
        "seed": options.seed,
    }
    report: dict[str, Any] = {
        "model": str(model),
        "against": None if options.against is None else str(options.against),
        "data": str(options.data),
        "task": options.task or options.metric,
        "metric": task.metric,
        "more_is_better": task.rises,
        "samples": own.count,
        "value": _number(own.total),
        "interval": _numbers(confidence_interval(own.value, own.count, **bootstrap)),
        **bootstrap,
    }
    if other is not None:

        def difference(chosen: Any) -> float:  # noqa: ANN401 -- an array of indexes
            return own.value(chosen) - other.value(chosen)

        interval = confidence_interval(difference, own.count, **bootstrap)
        report["reference"] = _number(other.total)
        report["difference"] = _number(own.total - other.total)
        report["difference_interval"] = _numbers(interval)
    return report


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _numbers(values: tuple[float, float] | None) -> list[float | None] | None:
    return None if values is None else [_number(value) for value in values]
