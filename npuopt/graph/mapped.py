"""Tensors whose bytes stay in their file until somebody asks for them."""

from __future__ import annotations

import mmap
import os
import weakref
from typing import TYPE_CHECKING, overload

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

CHUNK_BYTES, WINDOW_BYTES, SMALLEST_COPIED = 4 << 20, 16 << 10, 1 << 20
SAMPLES, SAMPLE_BYTES = 8, 512


class MappedFile:
    """A file mapped into memory, read-only. It stays readable when the path is replaced by another file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        self.identity = _identity(status)
        self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ) if self.size else None

    @property
    def is_in_place(self) -> bool:
        """Whether the path still leads to this very file, unchanged."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return self.identity == _identity(status)

    def view(self, offset: int = 0, length: int | None = None) -> memoryview:
        """Return bytes of the file without reading them."""
        if self._map is None:
            return memoryview(b"")
        return memoryview(self._map)[offset : None if length is None else offset + length]

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Read bytes in bounded chunks, past the mapping: they never count as this process's memory."""
        end = offset + length
        while offset < end:
            chunk = os.pread(self._descriptor, min(CHUNK_BYTES, end - offset), offset)
            if not chunk:
                raise OSError(f"{self.path} has become shorter than it was")
            yield chunk
            offset += len(chunk)

    def copy(self, offset: int, length: int, file: BinaryIO) -> None:
        """Append bytes to a file: by the kernel where it can do that, else in bounded chunks."""
        if length >= SMALLEST_COPIED:
            file.flush()
            while length and (copied := self._copied_by_kernel(offset, length, file)):
                offset, length = offset + copied, length - copied
        file.writelines(self.chunks(offset, length))

    def _copied_by_kernel(self, offset: int, length: int, file: BinaryIO) -> int:
        if not hasattr(os, "copy_file_range"):
            return 0
        try:
            return os.copy_file_range(self._descriptor, file.fileno(), length, offset)
        except OSError:  # not for these two files; or the disk is full, which writing will say again
            return 0

    def release(self) -> None:
        """Give the pages that were read back to the system; they are read again when needed."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


class FileBytes:
    """A file's bytes, indexed and sliced like a memoryview, read in small windows and never mapped.

    To walk a file through its mapping would map much more than is looked at: kernels map whole huge pages.
    """

    def __init__(self, source: MappedFile) -> None:
        self._source = source
        self._window = b""
        self._start = 0

    def __len__(self) -> int:
        return self._source.size

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> memoryview: ...
    def __getitem__(self, key: int | slice) -> int | memoryview:
        if isinstance(key, slice):
            start, stop, _ = key.indices(self._source.size)
            return memoryview(b"".join(self._source.chunks(start, max(stop - start, 0))))
        index = key - self._start
        if not 0 <= index < len(self._window):
            self._start, index = key, 0
            self._window = next(iter(self._source.chunks(key, min(WINDOW_BYTES, self._source.size - key))))
        return self._window[index]


class InFile:
    """The part of a mapped tensor that knows where its bytes lie."""

    source: MappedFile
    offset: int
    length: int

    def chunks(self) -> Iterator[bytes]:
        """Read the tensor's bytes (little endian, packed) in bounded chunks."""
        return self.source.chunks(self.offset, self.length)

    @property
    def is_short(self) -> bool:
        """Whether a sample is the whole tensor."""
        return self.length <= SAMPLES * SAMPLE_BYTES

    def sample(self) -> bytes:
        """Read some short blocks, spread evenly over the tensor's bytes, its first and last ones among them."""
        if self.is_short:
            return b"".join(self.chunks())
        last = max(self.length - SAMPLE_BYTES, 0)
        starts = dict.fromkeys(last * index // (SAMPLES - 1) for index in range(SAMPLES))
        parts = (self.source.chunks(self.offset + at, min(SAMPLE_BYTES, self.length)) for at in starts)
        return b"".join(chunk for part in parts for chunk in part)

    def tofile(self, file: BinaryIO) -> None:
        """Write the tensor's bytes to a file without ever holding them all."""
        self.source.copy(self.offset, self.length, file)


class MappedTensor(InFile, ir.Tensor[np.ndarray]):
    """A tensor whose array is a read-only view of the mapped file."""


class MappedPackedTensor(InFile, ir.PackedTensor[np.ndarray]):
    """A tensor of 2- or 4-bit elements, packed in the mapped file; `numpy()` unpacks them."""


def release_mapped(values: Iterable[ir.Value]) -> None:
    """Give the pages of constants that were read from their files back to the system."""
    sources = {value.const_value.source for value in values if isinstance(value.const_value, InFile)}
    for source in sources:
        source.release()


def mapped_tensor(
    source: MappedFile, offset: int, dtype: ir.DataType, shape: tuple[int, ...], name: str
) -> MappedTensor | MappedPackedTensor:
    """Return the tensor that lies at `offset` of a mapped file. The caller has checked that it does.

    Args:
        source: the file.
        offset: in bytes.
        dtype: any but STRING.
        shape: dims, none negative.
        name: the tensor's name.
    """
    tensor: MappedTensor | MappedPackedTensor
    length = byte_length(dtype, shape)
    data = np.frombuffer(source.view(offset, length), dtype=np.uint8)
    if dtype.bitwidth < 8:
        tensor = MappedPackedTensor(data, dtype, shape=ir.Shape(shape), name=name)
    else:
        little_endian = np.dtype(dtype.numpy()).newbyteorder("<")
        tensor = MappedTensor(data.view(little_endian).reshape(shape), dtype, shape=ir.Shape(shape), name=name)
    tensor.source, tensor.offset, tensor.length = source, offset, length
    return tensor


def byte_length(dtype: ir.DataType, shape: tuple[int, ...]) -> int:
    """Return the number of bytes that a tensor takes in a file, elements below a byte packed."""
    elements = 1
    for dim in shape:
        elements *= dim
    return (elements * dtype.bitwidth + 7) // 8
