"""Keeps what calibration has found so far in a file, so that it goes on from there when it was interrupted."""

from __future__ import annotations

import io
import json
import time
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.errors import InputError, cannot_write
from npuopt.graph.saving import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from npuopt.quantization.calibration.observation import Observation

    States = Mapping[str, Mapping[str, np.ndarray]]

FORMAT = "npuopt-calibration/2"

SECONDS = 30.0
"""Time between two writes: what an interruption costs at most."""

LARGEST_FILE = 2**30
"""Bytes above which a file is not read: thousands of histograms take a tenth of it."""

DAMAGED = (
    zipfile.BadZipFile,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    NotImplementedError,
    TypeError,
    RuntimeError,
    IndexError,
)
"""What reading a file of another kind, or one that was changed, raises."""


@dataclass(frozen=True)
class Progress:
    """How far calibration had come.

    Attributes:
        samples: how many were done.
        digest: of all of them, in order.
        states: what is remembered, by tensor.
    """

    samples: int
    digest: str
    states: States


class Checkpoint:
    """A file with the state of one calibration.

    Args:
        path: the file; it need not be there.
        key: what the state belongs to, part by part: model, method and so on. Each part is a short text.
    """

    def __init__(self, path: Path, key: Mapping[str, str]) -> None:
        self.path = path
        self._key = dict(key)
        self._written = time.monotonic()

    def load(self) -> Progress | None:
        """Return the state in the file, or None where there is no file.

        Raises:
            InputError: when it is no such file, is damaged, or belongs to something else.
        """
        if not self.path.exists():
            return None
        try:
            return self._read()
        except DAMAGED as error:
            raise self.damaged(error) from error

    def damaged(self, error: Exception) -> InputError:
        """Return the error for a file that holds no usable state."""
        return self.refused(f"not a state of calibration, or a damaged one: {' '.join(str(error).split())}")

    def refused(self, why: str) -> InputError:
        """Return the error for a file that is not to be gone on from."""
        return InputError(why, where=str(self.path), hint="delete it to start anew")

    def _read(self) -> Progress:
        with zipfile.ZipFile(self.path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > LARGEST_FILE or any(
                entry.compress_type != zipfile.ZIP_STORED for entry in entries
            ):
                raise ValueError("it is larger than any state")
            arrays = {entry.filename.removesuffix(".npy"): _array(archive.read(entry)) for entry in entries}
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']!r}")
        for part, wanted in self._key.items():
            if header["key"].get(part) != wanted:
                raise self.refused(f"this state belongs to another {part}")
        names = cast("list[str]", header["names"])
        states: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
        for entry, array in arrays.items():
            index, _, key = entry.partition(".")
            states[names[int(index)]][key] = array
        return Progress(int(header["samples"]), str(header["digest"]), states)

    def is_due(self) -> bool:
        """Say whether the last write lies so far back that it is time for another."""
        return time.monotonic() - self._written >= SECONDS

    def save(self, progress: Progress) -> None:
        """Write the file; it is there whole or not at all.

        Raises:
            UsageError: when it cannot be written; a plain NpuoptError when the disk is full.
        """
        header = {
            "format": FORMAT,
            "key": self._key,
            "samples": progress.samples,
            "digest": progress.digest,
            "names": list(progress.states),
        }
        arrays = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
        for index, state in enumerate(progress.states.values()):
            arrays.update({f"{index}.{key}": array for key, array in state.items()})
        try:
            with replacing(self.path) as file:
                np.savez(file, allow_pickle=False, **arrays)
        except OSError as error:
            raise cannot_write(error, str(self.path)) from error
        self._written = time.monotonic()


class Keeper:
    """Keeps an observation in a file while samples stream by.

    Args:
        checkpoint: the file; what it holds is put into the observation.
        observation: has seen nothing yet.

    Raises:
        InputError: when the file belongs to something else.
    """

    def __init__(self, checkpoint: Checkpoint, observation: Observation) -> None:
        self._checkpoint = checkpoint
        self._observation = observation
        self._known = checkpoint.load()
        if self._known is None:
            return
        if set(self._known.states) != set(observation.states()):
            raise checkpoint.refused("this state belongs to another model")
        try:
            observation.restore(self._known.samples, self._known.states)
        except DAMAGED as error:
            raise checkpoint.damaged(error) from error

    def knows(self, number: int) -> bool:
        """Say whether the file's state includes the sample of this number, counted from 1.

        Raises:
            InputError: when it comes from other samples than those looked at.
        """
        known = self._known
        if known is not None and number == known.samples and known.digest != self._observation.digest:
            raise self._other_data()
        return known is not None and number <= known.samples

    def save_when_due(self) -> None:
        """Write the state now and then."""
        if self._checkpoint.is_due():
            self.save()

    def save(self) -> None:
        """Write the state, unless a sample has been taken in by half or nothing has been added."""
        observation = self._observation
        known = 0 if self._known is None else self._known.samples
        if not observation.is_within_sample and observation.samples > known:
            self._checkpoint.save(Progress(observation.samples, observation.digest_of_taken, observation.states()))

    def end(self) -> None:
        """Write the state of all samples.

        Raises:
            InputError: when there were fewer of them than the file knew.
        """
        if self._known is not None and self._observation.looked_at < self._known.samples:
            raise self._other_data()
        self.save()

    def _other_data(self) -> InputError:
        return self._checkpoint.refused("this state belongs to other calibration data")


def _array(data: bytes) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
