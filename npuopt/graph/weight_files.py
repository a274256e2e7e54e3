"""Where a model's weights lie: in the .onnx file itself or in files next to it, checked before they are mapped."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import onnx
import onnx_ir as ir

from npuopt.errors import InputError
from npuopt.graph.mapped import FileBytes, MappedFile, byte_length, mapped_tensor
from npuopt.graph.wire import Payload, fields, rewrite_tensors, varint

if TYPE_CHECKING:
    from npuopt.graph.mapped import MappedPackedTensor, MappedTensor
    from npuopt.graph.wire import ByteSource, Piece

SMALLEST_MAPPED = 4096
"""Bytes from which a tensor's data stays in its file; below it a mapping costs more than it saves."""

MOST_ELEMENTS = 1 << 48
"""No real tensor has more; numpy cannot even describe some that do (zero dims next to huge ones)."""

INSIDE = "\0inside"
"""The location of weights that lie in the .onnx file itself; no path can contain a NUL."""

# Fields of TensorProto (onnx.proto). Packed floats and doubles are stored just as raw_data is.
_DATA_TYPE, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 2, 9, 13, 14
_TYPED_DATA = (4, 5, 6, 7, 10, 11)
_SAME_AS_RAW = {4: onnx.TensorProto.FLOAT, 10: onnx.TensorProto.DOUBLE}
_PACKED = 2  # wire type


class WeightFiles:
    """The files that hold one model's weights, each opened once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model_file = MappedFile(path)
        self._files: dict[str, MappedFile] = {INSIDE: self.model_file}

    def header(self) -> bytes:
        """Return the .onnx file without its large tensors' bytes: those become external data at `INSIDE`.

        Raises:
            WireError: when the file is not a protobuf message.
        """
        data = FileBytes(self.model_file)

        def externalize(start: int, end: int) -> list[Piece[None]] | None:
            return _as_external(data, start, end)

        pieces = rewrite_tensors(data, externalize, smallest=SMALLEST_MAPPED)
        return b"".join(piece for piece in pieces if not isinstance(piece, Payload))

    def check(self, tensor: onnx.TensorProto) -> None:
        """Check that a tensor's dims, type and data fit together, and where its data lies.

        Raises:
            InputError: naming the file and the tensor.
        """
        where = f"{self.path}: tensor {tensor.name!r}"
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            self._check_external(tensor, _element_type(tensor, where), where)
        else:
            check_tensor(tensor, where)

    def tensor(self, header: ir.ExternalTensor) -> MappedTensor | MappedPackedTensor:
        """Return the mapped tensor for one that `check` has passed."""
        file = self._files[cast("str", header.location)]  # pyright: ignore[reportUnknownMemberType] -- os.PathLike without argument
        shape = header.shape.numpy()
        mapped = mapped_tensor(file, header.offset or 0, header.dtype, shape, header.name)
        mapped.doc_string = header.doc_string
        mapped.metadata_props.update(header.metadata_props)
        return mapped

    def _check_external(self, tensor: onnx.TensorProto, dtype: ir.DataType, where: str) -> None:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED):
            raise InputError(f"elements of type {dtype.name} cannot be external data", where=where)
        offset = _natural(entries.get("offset", "0"), "offset", where)
        needed = byte_length(dtype, tuple(tensor.dims))
        if "length" in entries:
            length = _natural(entries["length"], "length", where)
            _check_length(length, dtype, tuple(tensor.dims), where)
        location = entries.get("location", "")
        file = self._open(location, where)
        if offset + needed > file.size:
            raise InputError(
                f"its data would go from byte {offset} to byte {offset + needed} of {file.path}, which has {file.size}",
                where=where,
                hint="the file is truncated or not the one that belongs to this model",
            )

    def _open(self, location: str, where: str) -> MappedFile:
        """Open a file next to the model, once, and refuse any other."""
        if location in self._files:
            return self._files[location]
        if not location or "\0" in location:
            raise InputError("its external data names no file", where=where)
        folder = self.path.parent.resolve()
        real = Path(os.path.realpath(folder / location))
        if Path(location).is_absolute() or ".." in Path(location).parts or not real.is_relative_to(folder):
            raise InputError(
                f"its external data {location!r} points outside the model's folder {folder}",
                where=where,
                hint="put the weights into that folder, as files and not as links to other places",
            )
        if not real.is_file():
            raise InputError(
                f"its external data {location!r} is missing",
                where=where,
                hint=f"put the file into {folder}",
            )
        try:
            self._files[location] = MappedFile(real)
        except OSError as error:
            raise InputError(f"its external data cannot be read ({error})", where=where) from None
        return self._files[location]


def check_tensor(tensor: onnx.TensorProto, where: str) -> None:
    """Check that the dims, type and data of a tensor that holds its data fit together.

    Raises:
        InputError: naming `where`.
    """
    dtype = _element_type(tensor, where)
    if tensor.HasField("raw_data") and dtype not in (ir.DataType.STRING, ir.DataType.UNDEFINED):
        _check_length(len(tensor.raw_data), dtype, tuple(tensor.dims), where)
    else:
        _check_count(tensor, dtype, where)


def _element_type(tensor: onnx.TensorProto, where: str) -> ir.DataType:
    if any(dim < 0 for dim in tensor.dims) or math.prod(dim for dim in tensor.dims if dim) > MOST_ELEMENTS:
        raise InputError(f"the dims {list(tensor.dims)} are not a shape", where=where)
    try:
        return ir.DataType(tensor.data_type)
    except ValueError:
        raise InputError(f"there is no element type number {tensor.data_type}", where=where) from None


def _as_external(data: ByteSource, start: int, end: int) -> list[Piece[None]] | None:
    """Return the TensorProto in `data[start:end]` with its bytes left where they are, or None to keep it.

    Kept is whatever is not one contiguous block of plain bytes: typed data of other types, several blocks (which
    protobuf would merge), data that is external already.
    """
    dtype, blocks = 0, list[tuple[int, int, int, int]]()
    for field in fields(data, start, end):
        if field.number == _DATA_TYPE and field.wire_type == 0:
            dtype = varint(data, field)
        elif field.number == _RAW_DATA or field.number in _TYPED_DATA:
            if field.wire_type != _PACKED or blocks:
                return None
            blocks.append((field.number, field.tag, field.body, field.end))
        elif field.number in (_EXTERNAL_DATA, _DATA_LOCATION):
            return None
    if not blocks or dtype == onnx.TensorProto.STRING:
        return None
    number, tag, body, stop = blocks[0]
    if stop - body < SMALLEST_MAPPED or (number != _RAW_DATA and _SAME_AS_RAW.get(number) != dtype):
        return None
    reference = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", INSIDE), ("offset", str(body)), ("length", str(stop - body))):
        reference.external_data.add(key=key, value=value)
    return [data[start:tag], data[stop:end], memoryview(reference.SerializeToString())]


def _natural(text: str, what: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise InputError(f"the {what} {text[:40]!r} of its external data is not a number of bytes", where=where)
    return int(text)


def _check_length(length: int, dtype: ir.DataType, shape: tuple[int, ...], where: str) -> None:
    needed = byte_length(dtype, shape)
    if length != needed:
        raise InputError(f"{length} bytes of data for {dtype.name}{list(shape)}, which takes {needed}", where=where)


def _check_count(tensor: onnx.TensorProto, dtype: ir.DataType, where: str) -> None:
    """Check the number of values in the typed field that `onnx.proto` assigns to the element type."""
    field = onnx.helper.tensor_dtype_to_field(tensor.data_type) if dtype != ir.DataType.UNDEFINED else "raw_data"
    values = len(getattr(tensor, field))
    needed = math.prod(tensor.dims)
    if dtype in (ir.DataType.COMPLEX64, ir.DataType.COMPLEX128):
        needed *= 2
    elif dtype != ir.DataType.STRING and dtype.bitwidth < 8:
        needed = byte_length(dtype, tuple(tensor.dims))  # packed, one byte a value
    if values != needed:
        raise InputError(f"{values} values for {dtype.name}{list(tensor.dims)}, which takes {needed}", where=where)
