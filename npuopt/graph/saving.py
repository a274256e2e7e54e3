"""Writes ONNX files: weights are streamed, and a file is there whole or not at all."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import onnx
import onnx_ir as ir

from npuopt.errors import InputError, InternalError, cannot_write
from npuopt.graph.fingerprint import content_key
from npuopt.graph.headers import hidden_index, weights_hidden
from npuopt.graph.mapped import InFile
from npuopt.graph.queries import graphs_of
from npuopt.graph.wire import Payload, encode_varint, rewrite_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from os import PathLike

    from npuopt.graph.wire import Piece

LARGEST_SINGLE_FILE = 1 << 30
"""Bytes of weights up to which they go into the .onnx file when nobody asks otherwise."""

LARGEST_PROTOBUF = (1 << 31) - 1
"""Bytes that other readers of protobuf accept in one file."""

SHARED_DATA = "weights.data"
"""The file that `save_sharing` puts weights into."""

_SMALLEST_STREAMED = 1024
"""Bytes from which a tensor is streamed or external; shape arithmetic needs the small ones inside."""

_ALIGNMENT, _PAGE, _LARGE = 64, 4096, 1 << 20
"""Offsets in the data file: vector loads want the one; mappings of large tensors the other."""


def save(model: ir.Model, path: str | PathLike[str], external_data: bool | None = None) -> None:
    """Write the model. The same model gives the same bytes.

    Args:
        model: stays as it is; may be one that was loaded from `path`.
        path: the .onnx file, replaced if it is there.
        external_data: whether the weights go into `<path>.data` next to it; None: when they exceed 1 GiB.

    Raises:
        UsageError: when the file cannot be written; a plain NpuoptError when the disk is full.
        InputError: when the weights do not fit into one file and `external_data` is False.
    """
    path = Path(path)
    with weights_hidden(model, _is_streamed) as tensors:
        header = ir.to_proto(model).SerializeToString(deterministic=True)
    total = sum(tensor.nbytes for tensor in tensors)
    if external_data is None:
        external_data = total > LARGEST_SINGLE_FILE
    elif not external_data and total + len(header) > LARGEST_PROTOBUF:
        raise InputError(f"{total} bytes of weights do not fit into one .onnx file", hint="use external data")
    in_subgraphs = _holds_weights_in_subgraphs(model)
    try:
        if external_data:
            data_path = path.with_name(f"{path.name}.data")
            offsets = _layout(tensors)
            pieces = _pointing_to_weights(header, tensors, offsets, data_path.name, in_subgraphs)
            with replacing(data_path) as file:
                _write_data(file, tensors, offsets)
        else:
            pieces = _holding_weights(header, tensors, in_subgraphs)
        with replacing(path) as file:
            for piece in pieces:
                if isinstance(piece, Payload):
                    _write_tensor(file, piece.source)
                else:
                    file.write(piece)
    except OSError as error:
        raise cannot_write(error, str(path)) from None


def save_sharing(models: Mapping[str, ir.Model], folder: Path) -> None:
    """Write several models into a folder, `<name>.onnx` each, with one `weights.data` that they share.

    Weights with the same type, shape and bytes are written once, whichever models they are of.

    Args:
        models: by name; stay as they are.
        folder: is there already.

    Raises:
        UsageError: when a file cannot be written; a plain NpuoptError when the disk is full.
    """
    headers: list[bytes] = []
    weights: list[list[ir.TensorProtocol]] = []
    known: dict[tuple[object, ...], ir.TensorProtocol] = {}
    for model in models.values():
        with weights_hidden(model, _is_streamed) as tensors:
            headers.append(ir.to_proto(model).SerializeToString(deterministic=True))
        weights.append([known.setdefault(content_key(tensor), tensor) for tensor in tensors])
    flat = [tensor for tensors in weights for tensor in tensors]
    offsets = _layout(flat)
    places = {id(tensor): offset for tensor, offset in zip(flat, offsets, strict=True)}
    try:
        with replacing(folder / SHARED_DATA) as file:
            _write_data(file, flat, offsets)
        for (name, model), header, tensors in zip(models.items(), headers, weights, strict=True):
            in_subgraphs = _holds_weights_in_subgraphs(model)
            at = [places[id(tensor)] for tensor in tensors]
            pieces = _pointing_to_weights(header, tensors, at, SHARED_DATA, in_subgraphs)
            with replacing(folder / f"{name}.onnx") as file:
                for piece in pieces:
                    file.write(cast("memoryview", piece))
    except OSError as error:
        raise cannot_write(error, str(folder)) from None


@contextmanager
def replacing(path: Path) -> Generator[BinaryIO]:
    """Open a temporary file beside `path` that takes its name when the block ends well, and goes when it does not."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _holds_weights_in_subgraphs(model: ir.Model) -> bool:
    return any(graph.initializers for graph in graphs_of(model) if graph is not model.graph)


def _is_streamed(tensor: ir.TensorProtocol) -> bool:
    return tensor.dtype != ir.DataType.STRING and tensor.nbytes >= _SMALLEST_STREAMED


def _layout(tensors: list[ir.TensorProtocol]) -> list[int]:
    """Place each tensor in the data file; those that share their bytes share the place."""
    places: dict[tuple[int, ...], int] = {}
    offsets: list[int] = []
    end = 0
    for tensor in tensors:
        identity = (id(tensor.source), tensor.offset, tensor.length) if isinstance(tensor, InFile) else (id(tensor),)
        if identity not in places:
            alignment = _PAGE if tensor.nbytes >= _LARGE else _ALIGNMENT
            places[identity] = -(-end // alignment) * alignment
            end = places[identity] + tensor.nbytes
        offsets.append(places[identity])
    return offsets


def _write_data(file: BinaryIO, tensors: list[ir.TensorProtocol], offsets: list[int]) -> None:
    for tensor, offset in zip(tensors, offsets, strict=True):
        if offset >= file.tell():  # else its bytes are there already, shared with an earlier one
            file.write(bytes(offset - file.tell()))
            _write_tensor(file, tensor)


def _write_tensor(file: BinaryIO, tensor: ir.TensorProtocol) -> None:
    start = file.tell()
    if isinstance(tensor, (InFile, ir.Tensor, ir.PackedTensor)):
        tensor.tofile(file)  # pyright: ignore[reportUnknownMemberType] -- its argument has no type
    else:
        file.write(tensor.tobytes())
    if file.tell() - start != tensor.nbytes:
        raise InternalError(f"wrote {file.tell() - start} bytes of {tensor.nbytes}", where=f"tensor {tensor.name!r}")


def _holding_weights(
    header: bytes, tensors: list[ir.TensorProtocol], in_subgraphs: bool
) -> list[Piece[ir.TensorProtocol]]:
    """Put the weights back where the header has placeholders."""
    if not tensors:
        return [memoryview(header)]

    def fill(proto: onnx.TensorProto, index: int) -> list[Piece[ir.TensorProtocol]]:
        tensor = tensors[index]
        proto.ClearField("external_data")
        proto.ClearField("data_location")
        tag = encode_varint(onnx.TensorProto.RAW_DATA_FIELD_NUMBER << 3 | 2) + encode_varint(tensor.nbytes)
        return [memoryview(proto.SerializeToString(deterministic=True) + tag), Payload(tensor, tensor.nbytes)]

    return _fill(header, fill, in_subgraphs)


def _pointing_to_weights(
    header: bytes, tensors: list[ir.TensorProtocol], offsets: list[int], location: str, in_subgraphs: bool
) -> list[Piece[ir.TensorProtocol]]:
    """Let the header's placeholders point into the data file."""

    def fill(proto: onnx.TensorProto, index: int) -> list[Piece[ir.TensorProtocol]]:
        del proto.external_data[:]
        places = {"location": location, "offset": str(offsets[index]), "length": str(tensors[index].nbytes)}
        for key, value in places.items():
            proto.external_data.add(key=key, value=value)
        return [memoryview(proto.SerializeToString(deterministic=True))]

    return _fill(header, fill, in_subgraphs)


def _fill(
    header: bytes, fill: Callable[[onnx.TensorProto, int], list[Piece[ir.TensorProtocol]]], in_subgraphs: bool
) -> list[Piece[ir.TensorProtocol]]:
    data = memoryview(header)

    def replace(start: int, end: int) -> list[Piece[ir.TensorProtocol]] | None:
        proto = onnx.TensorProto.FromString(header[start:end])
        index = hidden_index(proto)
        return None if index is None else fill(proto, index)

    return rewrite_tensors(data, replace, into_nodes=in_subgraphs)
