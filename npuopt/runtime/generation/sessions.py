"""A conversation as a file: its tokens and its caches, bound to the artifact that made them.

The file is a zip of plain arrays with one JSON document. Every array must have the type and shape that the artifact's
record says before a byte of it is read; nothing in it can run.
"""

from __future__ import annotations

import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from npuopt.errors import InputError, cannot_write
from npuopt.graph.saving import replacing
from npuopt.runtime.generation.tokenizer import require_known

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.runtime.generation.decoder import CachedDecoder
    from npuopt.runtime.generation.generator import Generator

HEADER_FILE = "session.json"
HEADER_BYTES = 64 << 20
LARGEST_ARRAY_HEADER = 10_000
"""Bytes of an array header that numpy is willing to parse; its own default, stated."""

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, KeyError, ValueError)
"""What zipfile and numpy raise on files that are cut short, changed, encrypted or packed in ways they do not know."""


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["npuopt-session/1"] = "npuopt-session/1"
    artifact: str
    adapter: str
    tokens: tuple[int, ...]
    length: int = Field(ge=0)


def save_session(generator: Generator, path: Path) -> None:
    """Write a conversation to a file, which is there whole or not at all.

    Raises:
        NpuoptError: when it cannot be written.
    """
    decoder = generator.decoder
    header = _Header(
        artifact=decoder.identity, adapter=decoder.adapter, tokens=tuple(generator.tokens), length=decoder.length
    )
    try:
        with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(HEADER_FILE, header.model_dump_json())
            for name, array in _arrays(decoder).items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    except OSError as error:
        raise cannot_write(error, str(path)) from error


def restore_session(generator: Generator, path: Path) -> None:
    """Take a conversation up again; nothing is changed where the file does not fit.

    Raises:
        InputError: when the file is damaged, cut short, or of another artifact or adapter.
    """
    decoder = generator.decoder
    try:
        with zipfile.ZipFile(path) as archive:
            header = _read_header(archive, path)
            _require_own(header, decoder, path)
            kept = {name: _read_array(archive, name, array, path) for name, array in _arrays(decoder).items()}
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=str(path)) from error
    except DAMAGED as error:
        raise InputError(f"is no session, or a damaged one: {error}", where=str(path)) from error
    held = {kind: kept[_places_name(index)] for index, kind in enumerate(decoder.caches.held)}
    for positions in held.values():
        if positions.min() < -1 or positions.max() >= header.length:
            raise InputError("is a damaged session: it places tokens that it does not hold", where=str(path))
    buffers = {name: kept[f"cache/{name}"] for name in decoder.caches.buffers}
    if decoder.source is not None:
        decoder.source.restore({name: kept[f"source/{name}"] for name in decoder.source.held})
    decoder.caches.restore(buffers, held, header.length)
    generator.tokens = list(header.tokens)


def _arrays(decoder: CachedDecoder) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name; with a fresh decoder's, their types and shapes."""
    caches = {f"cache/{name}": array for name, array in decoder.caches.buffers.items()}
    places = {_places_name(index): positions for index, positions in enumerate(decoder.caches.held.values())}
    source = {} if decoder.source is None else {f"source/{name}": held for name, held in decoder.source.held.items()}
    return {**caches, **places, **source}


def _places_name(index: int) -> str:
    return f"places/{index}"


def _read_header(archive: zipfile.ZipFile, path: Path) -> _Header:
    with archive.open(HEADER_FILE) as file:
        text = file.read(HEADER_BYTES)
    try:
        return _Header.model_validate_json(text)
    except ValidationError as error:
        raise InputError("is no session of npuopt, or of another version", where=str(path)) from error


def _require_own(header: _Header, decoder: CachedDecoder, path: Path) -> None:
    if header.artifact != decoder.identity:
        raise InputError("is a session of another artifact", where=str(path), hint="caches fit their own model only")
    if header.adapter != decoder.adapter:
        raise InputError("is a session with another adapter", where=str(path), hint="give the adapter it was made with")
    require_known(header.tokens, decoder.vocabulary)
    if header.length > min(len(header.tokens), decoder.context):
        raise InputError(f"is a damaged session: it holds {header.length} tokens", where=str(path))


def _read_array(archive: zipfile.ZipFile, name: str, like: np.ndarray, path: Path) -> np.ndarray:
    """Read an array that must be as `like` in type and shape."""
    with archive.open(f"{name}.npy") as file:
        shape, fortran_order, dtype = _array_header(file)
        if shape != like.shape or dtype != like.dtype or fortran_order:
            what = f"its {name} is {dtype}{list(shape)}, not {like.dtype}{list(like.shape)}"
            raise InputError(f"is a damaged session: {what}", where=str(path))
        content = file.read(like.nbytes)
    if len(content) != like.nbytes:
        raise EOFError(f"{name} ends after {len(content)} bytes of {like.nbytes}")
    array = np.frombuffer(content, dtype).reshape(shape)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"is a damaged session: {name} holds NaN or infinity", where=str(path))
    return array


def _array_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file, max_header_size=LARGEST_ARRAY_HEADER)
