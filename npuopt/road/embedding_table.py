"""The embedding that stays on the host: its table for calibration, and where it lies in the artifact."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from npuopt.bundle import EmbeddingTable
from npuopt.errors import UsageError, cannot_write
from npuopt.graph import attribute, constant, is_constant, is_op, load, static_shape, users
from npuopt.graph.mapped import InFile
from npuopt.road.driving import TokenTable
from npuopt.road.embedding_blocks import block_candidates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from npuopt.bundle import LanguageModelRecord
    from npuopt.graph import Model, Value
    from npuopt.road.decoding import Opened

AT_ONCE = 8192
"""Rows that are looked at at a time."""

LEAST_DB = 30.0
"""Signal to noise at which the weights of a head are taken for the embedding's. Eight bits a row leave 40 dB and more
of a tied one; weights that are not tied, 0 dB."""

LEAST_DB_OF_BLOCKS = 10.0
"""The same for weights of 4 bits in blocks, which leave about 20 dB of a tied one."""

LARGEST = 127


class _Candidate(NamedTuple):
    """Weights that may be the table's: [vocabulary, width], a number each row is multiplied with, or none."""

    value: Value
    turned: bool
    scales: Value | None

    def part(self, rows: slice) -> np.ndarray:
        """Return some rows in float32."""
        numbers = cast("np.ndarray", constant(self.value))
        found = (numbers[:, rows].T if self.turned else numbers[rows]).astype(np.float32)
        if self.scales is not None:
            found *= cast("np.ndarray", constant(self.scales))[rows, None]
        return found


def token_table(opened: Opened, record: LanguageModelRecord) -> TokenTable:
    """Return the float table of a decoder whose profiles take looked-up vectors.

    Raises:
        UsageError: when the graphs look tokens up, or take vectors as they came.
    """
    decoder = opened.decoder
    lookup = next((node for node in opened.model.graph if node.outputs[0].name == decoder.lookup), None)
    rows = None if lookup is None else constant(lookup.inputs[0])
    if record.embeddings is None or decoder.tokens is None or rows is None:
        raise UsageError(
            "tokens cannot be looked up on the host: their ids are read elsewhere too, or no table is known"
        )
    return TokenTable(decoder.tokens, rows)


def place_table(folder: Path, record: LanguageModelRecord, table: TokenTable, *, as_integers: bool) -> EmbeddingTable:
    """Say where an unfinished artifact has the embedding; it is written where the weights of the head are not it.

    Args:
        folder: the artifact's; its profiles are written.
        record: what it says of them.
        table: the float embedding.
        as_integers: hold it in 8 bits, a scale for each row, where it has to be written.
    """
    first = record.profiles[0]
    model = load(folder / first.model)
    for candidate in _candidates(model, table.rows.shape):
        columns = _columns(candidate.part, table.rows, LEAST_DB)
        if columns is not None:
            return _shared(folder, first.folder, candidate, columns)
    for blocks in block_candidates(model, table.rows.shape):
        columns = _columns(blocks.part, table.rows, LEAST_DB_OF_BLOCKS)
        if columns is not None:
            factors = f"{first.folder}/embedding.columns.data"
            _write(folder / factors, [columns])
            return blocks.table(folder, factors)
    return _written(folder, first.folder, table.rows, as_integers=as_integers)


def _candidates(model: Model, shape: tuple[int, ...]) -> Iterator[_Candidate]:
    """Yield weights of the table's shape that lie in a file: floats, or 8-bit integers with a scale for each row."""
    for value in model.graph.initializers.values():
        size = static_shape(value)
        if size not in (shape, shape[::-1]) or not isinstance(value.const_value, InFile) or value.dtype is None:
            continue
        turned = size != shape
        if value.dtype.is_floating_point():
            yield _Candidate(value, turned, None)
            continue
        for reader in users(value):
            scales = reader.inputs[1] if is_op(reader, "DequantizeLinear") else None
            along = attribute(reader, "axis", 1) == (1 if turned else 0) and static_shape(scales) == shape[:1]
            if along and scales is not None and isinstance(scales.const_value, InFile) and _is_centred(reader.inputs):
                yield _Candidate(value, turned, scales)


def _is_centred(inputs: Sequence[Value | None]) -> bool:
    point = inputs[2] if len(inputs) > 2 else None
    return point is None or (is_constant(point) and not cast("np.ndarray", constant(point)).any())


def _columns(part: Callable[[slice], np.ndarray], rows: np.ndarray, least_db: float) -> np.ndarray | None:
    """Return what the columns of a candidate are multiplied with to be the table; None where it is another one.

    The factors are those with the least squared error: smoothing divides the weights of a head, not those of a table.
    """
    width = rows.shape[1]
    own, both, whole = np.zeros(width), np.zeros(width), np.zeros(width)
    for some in (slice(start, start + AT_ONCE) for start in range(0, len(rows), AT_ONCE)):
        found, wanted = part(some), rows[some].astype(np.float32)
        own += np.einsum("rc,rc->c", found, found, dtype=np.float64)
        both += np.einsum("rc,rc->c", found, wanted, dtype=np.float64)
        whole += np.einsum("rc,rc->c", wanted, wanted, dtype=np.float64)
    factors = both / np.where(own > 0, own, 1.0)
    signal, noise = float(whole.sum()), float((whole - factors * both).sum())
    is_same = signal > 0 and (noise <= 0 or 10 * log10(signal / noise) >= least_db)
    return factors.astype("<f4") if is_same else None


def _shared(folder: Path, below: str, candidate: _Candidate, columns: np.ndarray) -> EmbeddingTable:
    numbers = cast("InFile", candidate.value.const_value)
    scales = None if candidate.scales is None else cast("InFile", candidate.scales.const_value)
    shape = static_shape(candidate.value) or (0, 0)
    factors = None
    if scales is not None:
        factors = f"{below}/embedding.columns.data"
        _write(folder / factors, [columns])
    return EmbeddingTable(
        file=_relative(numbers, folder),
        offset=numbers.offset,
        turned=candidate.turned,
        dtype=str(cast("np.ndarray", constant(candidate.value)).dtype.newbyteorder("=")),
        rows=shape[1] if candidate.turned else shape[0],
        width=len(columns),
        scales=None if scales is None else _relative(scales, folder),
        scales_offset=0 if scales is None else scales.offset,
        columns=factors,
    )


def _relative(tensor: InFile, folder: Path) -> str:
    return tensor.source.path.resolve().relative_to(folder.resolve()).as_posix()


def _written(folder: Path, below: str, rows: np.ndarray, *, as_integers: bool) -> EmbeddingTable:
    """Write the table, in 8 bits or as it is."""
    name, scales_name = f"{below}/embedding.data", f"{below}/embedding.scales.data"
    parts = (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))
    if not as_integers:
        _write(folder / name, parts)
        return EmbeddingTable(file=name, dtype=str(rows.dtype), rows=len(rows), width=rows.shape[1])
    largest = np.abs(rows).max(axis=1, initial=0).astype(np.float32)
    scales = np.where(largest > 0, largest / np.float32(LARGEST), np.float32(1))
    whole = (
        np.rint(rows[start : start + AT_ONCE] / scales[start : start + AT_ONCE, None]).astype(np.int8)
        for start in range(0, len(rows), AT_ONCE)
    )
    _write(folder / name, whole)
    _write(folder / scales_name, [scales.astype("<f4")])
    return EmbeddingTable(file=name, dtype="int8", rows=len(rows), width=rows.shape[1], scales=scales_name)


def _write(path: Path, parts: Iterator[np.ndarray] | list[np.ndarray]) -> None:
    try:
        with path.open("wb") as file:
            for part in parts:
                file.write(np.ascontiguousarray(part).data)
    except OSError as error:
        raise cannot_write(error, path.name) from error
