"""How far texts are from their references, by the libraries that papers cite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from npuopt.evaluate.scores import Scores, extra, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def error_rate(texts: Sequence[str], references: Sequence[str], *, by: str) -> Scores:
    """Return edits for each character (`by="character"`, CER) or word (`by="word"`, WER) of the references: jiwer."""
    jiwer: Any = extra("jiwer")
    process = jiwer.process_characters if by == "character" else jiwer.process_words
    rows: list[tuple[float, float]] = []
    for text, wanted in zip(texts, references, strict=True):
        if not wanted.strip():  # which jiwer refuses, or strips
            size = len(text) if by == "character" else len(text.split())
            rows.append((float(size), 0.0))
            continue
        found = process(wanted, text)
        edits = found.substitutions + found.deletions + found.insertions
        rows.append((edits, found.hits + found.substitutions + found.deletions))
    return ratio(rows)


def bleu(texts: Sequence[str], references: Sequence[str]) -> Scores:
    """Return corpus BLEU, 0 to 100, with sacrebleu's default tokenizer and smoothing."""
    metric: Any = extra("sacrebleu").BLEU()
    single: Any = extra("sacrebleu").BLEU(effective_order=True)
    found = [single.sentence_score(text, [wanted]) for text, wanted in zip(texts, references, strict=True)]
    rows = np.array([[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in found], np.int64)
    orders = (rows.shape[1] - 2) // 2 if len(rows) else 0

    def value(chosen: NDArray[np.intp]) -> float:
        sums = rows[chosen].sum(axis=0).tolist()
        counts, totals, (length, wanted) = sums[:orders], sums[orders:-2], sums[-2:]
        return float(metric.compute_bleu(counts, totals, length, wanted, smooth_method="exp").score)

    return Scores(len(found), value)


def rouge(texts: Sequence[str], references: Sequence[str]) -> Scores:
    """Return the mean F-measure of ROUGE-L, 0 to 1, as rouge-score computes it without stemming."""
    scorer: Any = extra("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    pairs = zip(texts, references, strict=True)
    return ratio([(scorer.score(wanted, text)["rougeL"].fmeasure, 1.0) for text, wanted in pairs])


def exact(texts: Sequence[str], references: Sequence[str]) -> Scores:
    """Return the share of texts that equal their reference to the letter."""
    return ratio([(float(text == wanted), 1.0) for text, wanted in zip(texts, references, strict=True)])
