"""What quantized models are judged by: each task runs a model on its evaluation samples and scores it beside float."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

import numpy as np

from npuopt import evaluate
from npuopt.verify import compare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from npuopt.graph.execution import Session

    Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Score:
    """How good a quantized model is.

    Attributes:
        text: for people.
        losses: what is lost against float, by name; less is better, the most important first.
    """

    text: str
    losses: Mapping[str, float]


class Task(Protocol):
    """A job that models do, on fixed samples.

    Attributes:
        by_sample: its fields that hold something for each sample.
    """

    by_sample: ClassVar[tuple[str, ...]]

    def outputs(self, session: Session) -> Any:  # noqa: ANN401 -- each task scores what it made itself
        """Return what the model makes of every evaluation sample, as far as the score needs it."""
        ...

    def score(self, before: Any, after: Any) -> Score:  # noqa: ANN401 -- as above
        """Compare what a quantized model made with what the float one made of the same samples."""
        ...


AnyTask = TypeVar("AnyTask", bound=Task)


def run_each(session: Session, samples: Arrays, output: str | None = None) -> np.ndarray:
    """Return one output for every sample (the leading axis of each array), stacked."""
    output = output or session.outputs[0]
    count = len(next(iter(samples.values())))
    runs = [session.run({name: array[i] for name, array in samples.items()}, [output])[output] for i in range(count)]
    return np.stack(runs)


@dataclass(frozen=True)
class Language:
    """Predict the next token.

    Attributes:
        inputs: token ids, [windows, 1, tokens]; each window starts with nothing before it.
        targets: the token after each of them, of the same shape.
        extra: further inputs, the same for every window.
    """

    by_sample: ClassVar[tuple[str, ...]] = ("inputs", "targets")
    inputs: np.ndarray
    targets: np.ndarray
    extra: Arrays = field(default_factory=dict[str, np.ndarray])

    @classmethod
    def of_text(cls, tokens: np.ndarray, window: int, extra: Arrays) -> Language:
        """Cut a text into windows."""
        windows = evaluate.token_windows(tokens, window)[:, None]
        return cls(windows[..., :-1], windows[..., 1:], extra)

    def outputs(self, session: Session) -> np.ndarray:
        """Return the loss of each prediction, in nats."""
        losses: list[np.ndarray] = []
        for ids, targets in zip(self.inputs, self.targets, strict=True):
            logits = session.run({"input_ids": ids, **self.extra}, ["logits"])["logits"][0]
            # row by row: a row of a large vocabulary takes a megabyte, and more while it is computed on
            losses += [evaluate.token_losses(row, target) for row, target in zip(logits, targets[0], strict=True)]
        return np.stack(losses)

    def score(self, before: np.ndarray, after: np.ndarray) -> Score:
        """Compare perplexities; the interval is that of the mean paired difference, 95 %."""
        change = np.exp(after.mean() - before.mean()) - 1
        spread = 1.96 * (after - before).std() / np.sqrt(len(after))
        text = (
            f"perplexity {np.exp(before.mean()):.3f} -> {np.exp(after.mean()):.3f} ({change:+.2%} +- {spread:.2%}), "
            f"{len(after):,} predictions"
        )
        return Score(text, {"perplexity": float(change)})


@dataclass(frozen=True)
class Classification:
    """Say what an image shows.

    Attributes:
        samples: the model's inputs.
        labels: of the samples, or None: then only agreement with float counts.
    """

    by_sample: ClassVar[tuple[str, ...]] = ("samples", "labels")
    samples: Arrays
    labels: np.ndarray | None = None

    def outputs(self, session: Session) -> np.ndarray:
        """Return the logits, [samples, classes]."""
        made = run_each(session, self.samples)
        return made.reshape(len(made), -1)

    def score(self, before: np.ndarray, after: np.ndarray) -> Score:
        """Compare top-1, or how often both put the same class first."""
        sqnr = compare(before, after).sqnr_db
        agree = evaluate.top1_agreement(after, before)
        noise = {"disagreement": 1 - agree, "noise_db": -sqnr}
        shared = f"agreement {agree:.2%}, SQNR {sqnr:.1f} dB, {len(after):,} images"
        if self.labels is None:
            return Score(shared, noise)
        tops = [evaluate.top1_accuracy(logits, self.labels) for logits in (before, after)]
        return Score(f"top-1 {tops[0]:.2%} -> {tops[1]:.2%}, {shared}", {"points": 100 * (tops[0] - tops[1]), **noise})


@dataclass(frozen=True)
class Embedding:
    """Say what a sentence means, as a vector.

    Attributes:
        samples: the model's inputs, with attention_mask.
    """

    by_sample: ClassVar[tuple[str, ...]] = ("samples",)
    samples: Arrays

    def outputs(self, session: Session) -> np.ndarray:
        """Return the embeddings, [sentences, width]."""
        hidden = run_each(session, self.samples, "last_hidden_state")
        mask = self.samples["attention_mask"].reshape(len(hidden), -1)
        return evaluate.sentence_embeddings(hidden.reshape(*mask.shape, -1), mask)

    def score(self, before: np.ndarray, after: np.ndarray) -> Score:
        """Compare directions."""
        cosines = evaluate.cosine_similarities(before, after)
        text = f"cosine {cosines.mean():.5f} mean, {cosines.min():.5f} least, {len(after):,} sentences"
        return Score(text, {"cosine": float(1 - cosines.mean())})


@dataclass(frozen=True)
class LabelledTexts:
    """Sort texts in two by a linear head on their embeddings.

    Attributes:
        texts: the encoder's inputs.
        labels: 1 or 0 for each text.
        weights, bias: the head; a text is positive above 0.
    """

    by_sample: ClassVar[tuple[str, ...]] = ("texts", "labels")
    texts: Embedding
    labels: np.ndarray
    weights: np.ndarray
    bias: float

    @classmethod
    def of(cls, folder: Path, name: str) -> LabelledTexts:
        """Read one task of the folder."""
        head = loaded(folder / "head.npz")
        path = folder / f"{name}.npz"
        texts = Embedding(loaded(path))
        return cls(texts, loaded(path, "labels")["labels"], head[f"{name}_weights"], float(head[f"{name}_bias"][0]))

    def right(self, embeddings: np.ndarray) -> np.ndarray:
        """Say of each text whether it is on the right side."""
        return (embeddings @ self.weights + self.bias > 0) == (self.labels == 1)


@dataclass(frozen=True)
class Encoding:
    """Say what sentences mean, as vectors, and sort texts by them.

    Attributes:
        sentences: to be embedded as in float.
        tasks: texts to be sorted, by the name of the task; may be empty.
    """

    by_sample: ClassVar[tuple[str, ...]] = ("sentences", "tasks")
    sentences: Embedding
    tasks: Mapping[str, LabelledTexts]

    def outputs(self, session: Session) -> dict[str, np.ndarray]:
        """Return the embeddings of the sentences (under an empty name) and of each task's texts."""
        tasks = {name: task.texts.outputs(session) for name, task in self.tasks.items()}
        return {"": self.sentences.outputs(session), **tasks}

    def score(self, before: Arrays, after: Arrays) -> Score:
        """Compare directions, and how many texts are sorted right; the interval is that of the paired difference."""
        whole = self.sentences.score(before[""], after[""])
        text, losses = whole.text, dict(whole.losses)
        for name, task in self.tasks.items():
            right = [task.right(made[name]) for made in (before, after)]
            change = 100 * (right[1].astype(float) - right[0])
            spread = 1.96 * change.std() / np.sqrt(len(change))
            counts = f"{(change > 0).sum()} won, {(change < 0).sum()} lost"
            text += f"; {name} {right[0].mean():.1%} -> {right[1].mean():.1%} of {len(change):,} ({counts}: "
            text += f"{change.mean():+.2f} +- {spread:.2f} points)"
            losses[name] = float(-change.mean())
        return Score(text, losses)


@dataclass(frozen=True)
class Reading:
    """Read a line of text.

    Attributes:
        samples: the model's inputs.
        texts: what the lines say.
        characters: what the classes stand for.
    """

    by_sample: ClassVar[tuple[str, ...]] = ("samples", "texts")
    samples: Arrays
    texts: list[str]
    characters: list[str]

    @classmethod
    def of(cls, folder: Path) -> Reading:
        """Read the evaluation samples of the recognizer's folder."""
        characters = json.loads((folder / "characters.json").read_text(encoding="utf-8"))
        data = np.load(folder / "evaluation.npz", allow_pickle=False)
        return cls({"x": data["x"]}, [str(text) for text in data["texts"]], characters)

    def outputs(self, session: Session) -> np.ndarray:
        """Return the probabilities, [lines, positions, classes]."""
        made = run_each(session, self.samples)
        return made.reshape(len(made), *made.shape[-2:])

    def score(self, before: np.ndarray, after: np.ndarray) -> Score:
        """Compare how many lines are read without a mistake, spaces at the ends aside."""
        read = [
            [text.strip() for text in evaluate.ctc_greedy_decode(made, self.characters)] for made in (before, after)
        ]
        exact = [evaluate.exact_match(texts, self.texts) for texts in read]
        same, sqnr = evaluate.exact_match(read[1], read[0]), compare(before, after).sqnr_db
        text = (
            f"exact {exact[0]:.1%} -> {exact[1]:.1%}, as in float {same:.1%}, SQNR {sqnr:.1f} dB, "
            f"{len(self.texts)} lines"
        )
        return Score(text, {"points": 100 * (exact[0] - exact[1]), "disagreement": 1 - same, "noise_db": -sqnr})


@dataclass(frozen=True)
class Detection:
    """Say which frames hold speech.

    Attributes:
        samples: the model's inputs.
        labels: 1, 0 or -1 for each frame.
    """

    by_sample: ClassVar[tuple[str, ...]] = ("samples", "labels")
    samples: Arrays
    labels: np.ndarray

    def outputs(self, session: Session) -> np.ndarray:
        """Return the score of each frame."""
        return run_each(session, self.samples).reshape(self.labels.shape)

    def score(self, before: np.ndarray, after: np.ndarray) -> Score:
        """Compare areas under the ROC curve."""
        areas = [evaluate.frame_auc(scores, self.labels) for scores in (before, after)]
        sqnr = compare(before, after).sqnr_db
        text = f"AUC {areas[0]:.4f} -> {areas[1]:.4f}, SQNR {sqnr:.1f} dB, {(self.labels >= 0).sum():,} frames"
        return Score(text, {"area": areas[0] - areas[1], "noise_db": -sqnr})


def first(task: AnyTask, count: int) -> AnyTask:
    """Return the same task on the first samples, of each set where it has several."""

    def cut(value: Any) -> Any:  # noqa: ANN401 -- arrays and lists by sample, mappings of them, and tasks within tasks
        if isinstance(value, dict):
            return {name: cut(each) for name, each in cast("dict[str, Any]", value).items()}
        if hasattr(value, "by_sample"):
            return first(value, count)
        return None if value is None else value[:count]

    return replace(cast("Any", task), **{name: cut(getattr(task, name)) for name in task.by_sample})


def loaded(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Return arrays of an .npz, all that are no labels where none is named."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in names or set(archive.files) - {"labels", "texts"}}
