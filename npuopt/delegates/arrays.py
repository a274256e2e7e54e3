"""Arrays on their way into a child process and back: one npz a sample, called by position, never pickled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def save_arrays(path: Path, arrays: Sequence[np.ndarray]) -> None:
    """Write arrays to an npz, called by their position."""
    np.savez(path, allow_pickle=False, **{str(index): array for index, array in enumerate(arrays)})


def load_arrays(path: Path) -> list[np.ndarray]:
    """Read back what `save_arrays` or a worker wrote."""
    with np.load(path, allow_pickle=False) as archive:
        return [archive[str(index)] for index in range(len(archive.files))]


@dataclass(frozen=True)
class SampleFiles:
    """Samples that a worker reads and the results that it writes, one file each.

    Attributes:
        given: a file for each sample, written here.
        made: a file for each sample's results, for the worker to write.
    """

    given: tuple[Path, ...]
    made: tuple[Path, ...]

    @classmethod
    def write(cls, folder: Path, samples: Iterable[Sequence[np.ndarray]]) -> SampleFiles:
        """Write every sample's arrays, in the order in which the worker takes them, into `folder`."""
        given: list[Path] = []
        for index, arrays in enumerate(samples):
            given.append(folder / f"in{index}.npz")
            save_arrays(given[-1], arrays)
        return cls(tuple(given), tuple(folder / f"out{index}.npz" for index in range(len(given))))

    @property
    def request(self) -> dict[str, list[str]]:
        """What a worker is told of them."""
        return {"inputs": [str(path) for path in self.given], "outputs": [str(path) for path in self.made]}

    def results(self) -> list[list[np.ndarray]]:
        """Read the results of every sample, in the order in which the worker wrote them."""
        return [load_arrays(path) for path in self.made]
