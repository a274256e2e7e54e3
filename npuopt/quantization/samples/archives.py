"""Samples from `.npz` files, read member by member as a stream: memory holds one sample, however many there are."""

from __future__ import annotations

import zipfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from npuopt.quantization.samples.inputs import InputSpec

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
"""What zipfile raises on files that are cut short, changed, encrypted or packed in ways it does not know."""

LARGEST_HEADER = 10_000
"""Bytes of an array header that numpy is willing to parse; its own default, stated."""


@dataclass(frozen=True)
class Member:
    """One array of an archive, as its header describes it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    sample_shape: tuple[int, ...]

    @property
    def sample_bytes(self) -> int:
        """Size of one sample in the file."""
        return int(np.prod(self.sample_shape, dtype=np.int64)) * self.dtype.itemsize


class ArchiveSource:
    """Samples from one `.npz` file after the other.

    Args:
        paths: the files, in order.
        inputs: what the model takes; arrays of other names are left unread.

    Raises:
        InputError: when a file is damaged, holds pickled objects, or its headers do not fit the model.
    """

    def __init__(self, paths: Sequence[Path], inputs: tuple[InputSpec, ...]) -> None:
        self._paths = tuple(paths)
        self._inputs = inputs
        found = [self._inspect(path) for path in self._paths]
        self.count: int | None = sum(count for _, count in found)
        self.names: frozenset[str] | None = (
            frozenset(set[str].intersection(*(names for names, _ in found))) if found else None
        )

    def _inspect(self, path: Path) -> tuple[set[str], int]:
        """Return the names in the file and the number of its samples, from the headers alone."""
        with _opened(path) as archive:
            present = {name.removesuffix(".npy") for name in archive.namelist()}
            counts = {
                spec.name: _member(archive, spec, path)[0].shape[0] for spec in self._inputs if spec.name in present
            }
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise InputError(f"inputs differ in their number of samples: {listed}", where=str(path))
        return present, next(iter(counts.values()), 0)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the samples of each file in turn."""
        for path in self._paths:
            yield from self._read(path)

    def _read(self, path: Path) -> Iterator[dict[str, np.ndarray]]:
        with ExitStack() as stack:
            archive = stack.enter_context(_opened(path))
            streams: dict[str, tuple[Member, IO[bytes]]] = {}
            for spec in self._inputs:
                member, stream = _member(archive, spec, path)
                streams[spec.name] = (member, stack.enter_context(stream))
            count = next((member.shape[0] for member, _ in streams.values()), 0)
            for _ in range(count):
                yield {name: _next_sample(member, stream, path) for name, (member, stream) in streams.items()}
            for _, stream in streams.values():
                _finish(stream, path)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def _member(archive: zipfile.ZipFile, spec: InputSpec, path: Path) -> tuple[Member, IO[bytes]]:
    """Open the array for one input and read its header; the stream stands at the first sample."""
    where = f"{path}, {spec.name}"
    try:
        stream = archive.open(f"{spec.name}.npy")
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read_header(stream, max_header_size=LARGEST_HEADER)
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    except (KeyError, ValueError) as error:
        raise InputError(f"not a numpy array: {error}", where=where) from error
    if dtype.hasobject:
        raise InputError("pickled objects are refused", where=where, hint="save plain arrays of numbers")
    spec.check_dtype(dtype, where)
    if fortran_order and len(shape) > 1:
        raise InputError("the array is in Fortran order", where=where, hint="save np.ascontiguousarray(array)")
    return Member(shape, dtype, _sample_shape(spec, shape, where)), stream


def _sample_shape(spec: InputSpec, shape: tuple[int, ...], where: str) -> tuple[int, ...]:
    """Return the shape of one sample in an array whose leading axis counts samples."""
    if shape and spec.fits(shape[1:]):
        return shape[1:]
    if shape and spec.shape[:1] == (1,) and spec.fits((1, *shape[1:])):
        return (1, *shape[1:])
    raise InputError(
        f"shape {list(shape)} does not fit {spec.describe()}",
        where=where,
        hint="the leading axis counts the samples, the others are the input's shape",
    )


def _next_sample(member: Member, stream: IO[bytes], path: Path) -> np.ndarray:
    try:
        data = stream.read(member.sample_bytes)
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    if len(data) != member.sample_bytes:
        raise _damaged(path, EOFError("the array ends early"))
    return np.frombuffer(data, member.dtype).reshape(member.sample_shape)


def _finish(stream: IO[bytes], path: Path) -> None:
    """Read to the end, where zipfile compares the checksum."""
    try:
        stream.read(1)
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"not an .npz file, or a damaged one: {error}", where=str(path))
