"""Real English sentences: reviews and editorials that come with the vaderSentiment package."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import numpy as np

from tools.models.recipes.packages import Package, read_member

if TYPE_CHECKING:
    from pathlib import Path

# MIT licence; the texts are described in Hutto and Gilbert, "VADER", ICWSM 2014.
PACKAGE = Package(
    "vaderSentiment==3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9", source=True
)
ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
TEXTS = ("movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets")
FEWEST_WORDS = 4


def sentences(downloads: Path, seed: int) -> list[str]:
    """Return some 19,000 different sentences, shuffled: film reviews, shop reviews and newspaper editorials."""
    inner = read_member(PACKAGE.fetch(downloads), ARCHIVE)
    found: dict[str, None] = {}
    with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
        for name in TEXTS:
            file = archive.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            if file is None:
                raise KeyError(name)
            for line in file.read().decode("utf-8", errors="ignore").splitlines():
                text = line.split("\t")[-1].strip()
                if len(text.split()) >= FEWEST_WORDS:
                    found[text] = None
    texts = list(found)
    return [texts[index] for index in np.random.default_rng(seed).permutation(len(texts))]
