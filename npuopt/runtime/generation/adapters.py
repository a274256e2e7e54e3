"""Low-rank adapters of a compiled language model: inputs of the same graphs, swapped without compiling."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError, UsageError
from npuopt.graph.low_rank import LowRank, read_low_rank

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.bundle import AdapterInput, LanguageModelRecord

    Arrays = dict[str, np.ndarray]


def no_adapter(record: LanguageModelRecord) -> Arrays:
    """Return the inputs that give the model as it was: zeros."""
    return {
        name: np.zeros(shape, np.float32)
        for adapter in record.adapters
        for name, shape in (
            (adapter.down, (adapter.features, adapter.rank)),
            (adapter.up, (adapter.rank, adapter.outputs)),
        )
    }


def read_adapter(path: Path, record: LanguageModelRecord) -> tuple[Arrays, str]:
    """Read an adapter for a compiled language model.

    A rank below the compiled one is filled up with zeros, which add nothing. Layers without an adapter stay as they
    were.

    Returns:
        The inputs by name, and a hash of what they hold.

    Raises:
        UsageError: when the model was compiled without adapters.
        InputError: when the file cannot be read, or is for other layers, shapes or a higher rank.
    """
    if not record.adapters:
        raise UsageError("the model was compiled without adapters", hint="compile it with --adapter FILE")
    known = {adapter.layer: adapter for adapter in record.adapters}
    feeds = no_adapter(record)
    for layer, read in read_low_rank(path).items():
        if layer not in known:
            what = "an adapter is given for a layer that was compiled without one"
            raise InputError(what, where=layer, hint=f"compiled are {', '.join(list(known)[:4])} ...")
        _require_fit(known[layer], read)
        feeds[known[layer].down][:, : read.rank] = read.down
        feeds[known[layer].up][: read.rank] = read.scale * read.up
    digest = hashlib.sha256()
    for name in sorted(feeds):
        digest.update(name.encode() + feeds[name].tobytes())
    return feeds, digest.hexdigest()


def _require_fit(compiled: AdapterInput, read: LowRank) -> None:
    given = read.down.shape[0], read.up.shape[1]
    if given != (compiled.features, compiled.outputs):
        what = f"an adapter from {given[0]} to {given[1]} features for a layer"
        raise InputError(f"{what} from {compiled.features} to {compiled.outputs}", where=compiled.layer)
    if read.rank > compiled.rank:
        what = f"an adapter of rank {read.rank}, and the model was compiled for {compiled.rank}"
        raise InputError(what, where=compiled.layer, hint="compile with an adapter of this rank")
