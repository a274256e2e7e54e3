"""What a model is for: how its outputs are read, and which metric says how well it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from npuopt.errors import InputError
from npuopt.evaluate import texts
from npuopt.evaluate.detection import frame_auc
from npuopt.evaluate.embeddings import sentence_embeddings
from npuopt.evaluate.perplexity import token_losses
from npuopt.evaluate.recognition import ctc_greedy_decode
from npuopt.evaluate.scores import Scores, extra, ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
Sample: TypeAlias = "Mapping[str, Array]"
Reader: TypeAlias = "Callable[[Array, int, Sample], Any]"
"""Makes of an output, the sample's number and its inputs what is kept of it; the sooner an output goes, the better."""

NO_TARGET = 0
"""Below this, a label or target is none."""


@dataclass(frozen=True)
class Task:
    """One kind of evaluation.

    Attributes:
        metric: what the number is, for people.
        rises: whether more is better.
        needs: arrays that the data must have beside the inputs.
        read: what is kept of each output.
        score: the scores from what was kept and the data's arrays; None where the metric compares two models.
        compare: the scores from what was kept of two models; None where each is held against the data.
    """

    metric: str
    rises: bool
    needs: tuple[str, ...]
    read: Callable[[Mapping[str, Array]], Reader]
    score: Callable[[Sequence[Any], Mapping[str, Array]], Scores] | None = None
    compare: Callable[[Sequence[Any], Sequence[Any]], Scores] | None = None


def _class_of(data: Mapping[str, Array]) -> Reader:
    del data
    return lambda output, index, sample: int(output.reshape(-1).argmax())


def _right(read: Sequence[int], data: Mapping[str, Array]) -> Scores:
    labels = data["labels"].reshape(-1).tolist()
    return ratio([(float(label == got), float(label >= NO_TARGET)) for got, label in zip(read, labels, strict=True)])


def _same(read: Sequence[int], other: Sequence[int]) -> Scores:
    return ratio([(float(one == two), 1.0) for one, two in zip(read, other, strict=True)])


def _f1(read: Sequence[int], data: Mapping[str, Array]) -> Scores:
    """F1 of class 1 where there are two classes, else the mean over classes: scikit-learn."""
    metrics: Any = extra("sklearn.metrics")
    labels, got = data["labels"].reshape(-1), np.asarray(read)
    average = "binary" if set(labels.tolist()) <= {0, 1} else "macro"

    def value(chosen: NDArray[np.intp]) -> float:
        return float(metrics.f1_score(labels[chosen], got[chosen], average=average, zero_division=0.0))

    return Scores(len(got), value)


def _scores(data: Mapping[str, Array]) -> Reader:
    del data
    return lambda output, index, sample: output.astype(np.float64).reshape(-1)


def _auc(read: Sequence[Array], data: Mapping[str, Array]) -> Scores:
    labels = data["labels"].reshape(len(read), -1)

    def value(chosen: NDArray[np.intp]) -> float:
        parts: list[Array] = [read[index] for index in chosen.tolist()]
        return frame_auc(np.concatenate(parts), labels[chosen].reshape(-1))

    return Scores(len(read), value)


def _loss(data: Mapping[str, Array]) -> Reader:
    targets = data["targets"]

    def read(output: Array, index: int, sample: Sample) -> tuple[float, float]:
        del sample
        wanted = targets[index].reshape(-1).astype(np.int64)
        logits = output.reshape(-1, output.shape[-1])
        if len(logits) != len(wanted) or wanted.max(initial=0) >= logits.shape[-1]:
            raise InputError(f"logits of shape {list(output.shape)} for {len(wanted)} targets")
        known = wanted >= NO_TARGET
        return float(token_losses(logits[known], wanted[known]).sum()), float(known.sum())

    return read


def _perplexity(read: Sequence[tuple[float, float]], data: Mapping[str, Array]) -> Scores:
    del data
    return ratio(read, lambda mean: float(np.exp(mean)))


def _embedding(data: Mapping[str, Array]) -> Reader:
    del data

    def read(output: Array, index: int, sample: Sample) -> Array:
        del index
        mask = sample.get("attention_mask")
        if output.ndim == 3:  # one vector a token
            known = np.ones(output.shape[:2], np.int64) if mask is None else mask.reshape(output.shape[:2])
            return sentence_embeddings(output, known)[0]
        vector = output.astype(np.float64).reshape(-1)
        return vector / max(float(np.linalg.norm(vector)), np.finfo(np.float64).tiny)

    return read


def _cosine(read: Sequence[Array], other: Sequence[Array]) -> Scores:
    return ratio([(float(one @ two), 1.0) for one, two in zip(read, other, strict=True)])


def _text_of(data: Mapping[str, Array]) -> Reader:
    """Read texts by what the data says: `characters` of a CTC network, or a `vocabulary` of token ids."""
    characters, vocabulary = ([str(one) for one in data.get(name, ())] for name in ("characters", "vocabulary"))

    def read(output: Array, index: int, sample: Sample) -> str:
        del index, sample
        if characters:
            return ctc_greedy_decode(output, characters)[0]
        if output.dtype.kind in "OSU":
            return " ".join(str(one) for one in output.reshape(-1))
        if not vocabulary:
            raise InputError("the data says neither characters nor vocabulary, so that outputs cannot be read as text")
        ids = output.reshape(-1) if output.dtype.kind in "iu" else output.reshape(-1, output.shape[-1]).argmax(axis=-1)
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < len(vocabulary):
            raise InputError(f"token {int(ids.max())} is beyond the vocabulary of {len(vocabulary)}")
        return " ".join(vocabulary[int(one)] for one in ids if vocabulary[int(one)])

    return read


def _of_texts(
    score: Callable[[Sequence[str], Sequence[str]], Scores],
) -> Callable[[Sequence[Any], Mapping[str, Array]], Scores]:
    def against_data(read: Sequence[Any], data: Mapping[str, Array]) -> Scores:
        return score(read, [str(one) for one in data["texts"].reshape(-1)])

    return against_data


def _text_task(metric: str, *, rises: bool, score: Callable[[Sequence[str], Sequence[str]], Scores]) -> Task:
    return Task(metric, rises, ("texts",), _text_of, _of_texts(score))


def _by_character(read: Sequence[str], wanted: Sequence[str]) -> Scores:
    return texts.error_rate(read, wanted, by="character")


def _by_word(read: Sequence[str], wanted: Sequence[str]) -> Scores:
    return texts.error_rate(read, wanted, by="word")


TASKS: dict[str, Task] = {
    "perplexity": Task("perplexity", False, ("targets",), _loss, _perplexity),
    "top1": Task("top-1 accuracy", True, ("labels",), _class_of, _right),
    "agreement": Task("top-1 agreement", True, (), _class_of, compare=_same),
    "f1": Task("F1", True, ("labels",), _class_of, _f1),
    "exact-match": _text_task("exact match", rises=True, score=texts.exact),
    "cer": _text_task("character error rate", rises=False, score=_by_character),
    "wer": _text_task("word error rate", rises=False, score=_by_word),
    "bleu": _text_task("BLEU", rises=True, score=texts.bleu),
    "rouge": _text_task("ROUGE-L", rises=True, score=texts.rouge),
    "embeddings": Task("cosine of embeddings", True, (), _embedding, compare=_cosine),
    "auc": Task("area under the ROC curve", True, ("labels",), _scores, _auc),
}
"""Every task by its name on the command line."""
