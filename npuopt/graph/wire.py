"""Rewrites the tensors inside a serialized ONNX model without decoding the rest.

The protobuf wire format is a sequence of fields, each a varint tag `number << 3 | type` and a body; a message is a
field of type 2, whose body is preceded by its length (https://protobuf.dev/programming-guides/encoding/). That is
enough to find every tensor's bytes, so a model of any size can be split into a small header and the byte ranges of
its weights, and put together again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PayloadT = TypeVar("PayloadT")


class ByteSource(Protocol):
    """Bytes that can be indexed and sliced: a memoryview, or a file."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, key: int, /) -> int: ...
    @overload
    def __getitem__(self, key: slice, /) -> memoryview: ...


DEEPEST = 100
"""Nesting that protobuf itself accepts."""

_BYTES = 2  # wire type of strings, bytes and messages

# Which fields of which message lead to tensors: message -> field number -> message of the field (onnx.proto).
_LEADS_TO_TENSORS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
    "tensor": {},
}


class WireError(ValueError):
    """The bytes are not a protobuf message."""


class Field(NamedTuple):
    """One field: its tag begins at `tag`, its body goes from `body` to `end`."""

    number: int
    wire_type: int
    tag: int
    body: int
    end: int


@dataclass(frozen=True)
class Payload(Generic[PayloadT]):
    """Bytes that are not there yet: `length` of them, to come from `source`."""

    source: PayloadT
    length: int


Piece = memoryview | Payload[PayloadT]


def fields(data: ByteSource, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message in `data[start:end]`.

    Raises:
        WireError: when a field is malformed or runs past `end`.
    """
    position = start
    while position < end:
        tag = position
        key = data[position]  # mostly a byte, as the lengths of small messages are
        key, position = (key, position + 1) if key < 0x80 else _varint(data, position, end)
        wire_type = key & 7
        if wire_type == _BYTES:
            length = data[position] if position < end else 0x80
            length, body = (length, position + 1) if length < 0x80 else _varint(data, position, end)
            position = body + length
        else:
            body = position
            position = _skip(data, wire_type, position, end)
        if position > end:
            raise WireError(f"the field at byte {tag} goes on to byte {position}, past the end at byte {end}")
        yield Field(key >> 3, wire_type, tag, body, position)


def varint(data: ByteSource, field: Field) -> int:
    """Decode the body of a field of wire type 0."""
    return _varint(data, field.body, field.end)[0]


def rewrite_tensors(
    data: ByteSource,
    replace: Callable[[int, int], list[Piece[PayloadT]] | None],
    *,
    smallest: int = 0,
    into_nodes: bool = True,
) -> list[Piece[PayloadT]]:
    """Copy a serialized ModelProto with some of its TensorProtos replaced.

    Args:
        data: the model.
        replace: called with where each TensorProto begins and ends; returns what to put there, or None to keep it.
        smallest: messages of fewer bytes are copied without a look inside.
        into_nodes: whether to look for tensors in the attributes of nodes (and so in subgraphs).

    Returns:
        The pieces of the new model, in order; slices of `data` are not copies.

    Raises:
        WireError: when `data` is not a protobuf message, or nested too deep.
    """
    leads = _LEADS_TO_TENSORS
    if not into_nodes:
        leads = {
            name: {k: v for k, v in inner.items() if v not in ("node", "function")} for name, inner in leads.items()
        }

    def rewrite(kind: str, start: int, end: int, depth: int) -> list[Piece[PayloadT]] | None:
        if kind == "tensor":
            return replace(start, end)
        if depth > DEEPEST:
            raise WireError(f"messages are nested more than {DEEPEST} deep")
        pieces: list[Piece[PayloadT]] = []
        copied = start
        for field in fields(data, start, end):
            inner = leads[kind].get(field.number)
            if inner is None or field.wire_type != _BYTES or field.end - field.body < smallest:
                continue
            replaced = rewrite(inner, field.body, field.end, depth + 1)
            if replaced is not None:
                head = encode_varint(field.number << 3 | _BYTES) + encode_varint(length_of(replaced))
                pieces += [data[copied : field.tag], memoryview(head), *replaced]
                copied = field.end
        return [*pieces, data[copied:end]] if pieces else None

    return rewrite("model", 0, len(data), 0) or [data[0 : len(data)]]


def length_of(pieces: list[Piece[PayloadT]]) -> int:
    """Return the number of bytes in the pieces."""
    return sum(piece.length if isinstance(piece, Payload) else piece.nbytes for piece in pieces)


def encode_varint(value: int) -> bytes:
    """Encode a non-negative integer, seven bits a byte, lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _varint(data: ByteSource, position: int, end: int) -> tuple[int, int]:
    result = 0
    for index in range(10):  # 64 bits take at most ten bytes
        if position + index >= end:
            raise WireError(f"the bytes end at {end}, within a number")
        byte = data[position + index]
        result |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return result, position + index + 1
    raise WireError(f"the number at byte {position} has more than ten bytes")


def _skip(data: ByteSource, wire_type: int, position: int, end: int) -> int:
    if wire_type == 0:
        return _varint(data, position, end)[1]
    if wire_type == 1:
        return position + 8
    if wire_type == 5:
        return position + 4
    raise WireError(f"there is no field of wire type {wire_type} in ONNX, but at byte {position} stands one")
