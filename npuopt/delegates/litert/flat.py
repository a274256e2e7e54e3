"""A TFLite model in memory: tensors and operators in lists, constant data as functions that make it when it is written.

No copy of the weights is held: the flatbuffer is packed without them, and each buffer is then appended to the file,
to which the flatbuffer's own offset is made to point. Offsets of a flatbuffer go forward, so the file is a normal one.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from npuopt.delegates.litert.schema import pack
from npuopt.errors import InputError, cannot_write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Data = Callable[[], np.ndarray]
    Option = int | float | bool | str | Sequence[int]

ALIGNMENT = 16
"""Data of tensors starts at multiples of this many bytes, as the schema's `force_align` says."""
LARGEST_FILE = (1 << 31) - 1
SMALL_BYTES = 1024
"""Constants up to this size that are equal share one tensor."""


@dataclass(frozen=True)
class Encoding:
    """How integers stand for numbers: `(integer - zero point) * scale`.

    Attributes:
        scales: one for the tensor, or one for each index of `axis`.
        zero_points: as many.
        axis: of the stored tensor.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0

    @property
    def scale(self) -> float:
        """The one scale of the tensor."""
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        """The one zero point of the tensor."""
        return self.zero_points[0]

    @property
    def per_tensor(self) -> bool:
        """Say whether there is one scale for all."""
        return len(self.scales) == 1


@dataclass(frozen=True)
class FlatTensor:
    """One tensor; buffer 0 holds no data, buffer n is `FlatModel.buffers[n - 1]`."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding | None = None
    buffer: int = 0


@dataclass(frozen=True)
class FlatOperator:
    """One operator; an input of -1 is left out."""

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Option]


@dataclass
class FlatModel:
    """A model of one subgraph."""

    tensors: list[FlatTensor] = field(default_factory=list[FlatTensor])
    operators: list[FlatOperator] = field(default_factory=list[FlatOperator])
    buffers: list[Data] = field(default_factory=list["Data"])
    inputs: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    outputs: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    _small: dict[tuple[object, ...], int] = field(default_factory=dict[tuple[object, ...], int])
    _names: Counter[str] = field(default_factory=Counter[str])

    def add(
        self, name: str, shape: Sequence[int], dtype: str, encoding: Encoding | None = None, data: Data | None = None
    ) -> int:
        """Add a tensor and return its index. A name that is taken gets a number: some tools know tensors by name."""
        buffer = 0
        self._names[name] += 1
        while self._names[name] > 1:
            name = f"{name}/{self._names[name]}"
            self._names[name] += 1
        if data is not None:
            self.buffers.append(data)
            buffer = len(self.buffers)
        self.tensors.append(FlatTensor(name, tuple(int(size) for size in shape), dtype, encoding, buffer))
        return len(self.tensors) - 1

    def constant(self, name: str, array: np.ndarray, encoding: Encoding | None = None) -> int:
        """Add a constant that is in memory; a small one is added once."""
        if array.nbytes > SMALL_BYTES:
            return self.add(name, array.shape, array.dtype.name, encoding, lambda: array)
        key = (array.dtype.name, array.shape, array.tobytes(), encoding)
        if key not in self._small:
            self._small[key] = self.add(name, array.shape, array.dtype.name, encoding, lambda: array)
        return self._small[key]

    def write(self, path: Path) -> None:
        """Write the model to a file, one buffer at a time.

        Raises:
            InputError: it would be larger than a flatbuffer can be.
            UsageError: the file cannot be written.
        """
        packed, slots = pack(self)
        try:
            with path.open("wb") as file:
                file.write(packed)
                end = len(packed)
                for slot, make in zip(slots, self.buffers, strict=True):
                    data = stored_bytes(make())
                    start = -(-(end + 4) // ALIGNMENT) * ALIGNMENT
                    end_of_data = start + len(data)
                    if end_of_data > LARGEST_FILE:
                        raise InputError(
                            "its weights do not fit into a TFLite file, which ends at 2 GiB",
                            where=str(path),
                            hint="hold them in 8 or 4 bits, or cut the model",
                        )
                    file.write(bytes(start - 4 - end) + struct.pack("<I", len(data)))
                    file.write(data)
                    struct.pack_into("<I", packed, slot, start - 4 - slot)
                    end = end_of_data
                file.seek(0)
                file.write(packed)
        except OSError as error:
            raise cannot_write(error, str(path)) from error


def stored_bytes(array: np.ndarray) -> bytes | memoryview:
    """Return the bytes of a tensor as a TFLite file holds them: 4-bit values two in a byte, the low half first."""
    if array.dtype.name in ("int4", "uint4"):
        flat = array.reshape(-1).astype(np.int8).view(np.uint8) & 0x0F
        padded = np.concatenate([flat, np.zeros(flat.size % 2, np.uint8)])
        return (padded[0::2] | (padded[1::2] << 4)).tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
