"""Caches that stay inside compiled regions: inputs that come back as outputs become the regions' states."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from npuopt.delegates.contract import STATE
from npuopt.graph import DataType, dims, element_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from npuopt.bundle import LanguageModelRecord
    from npuopt.graph import Model
    from npuopt.target import Target


def mark_states(parts: Iterable[Model], record: LanguageModelRecord, target: Target) -> None:
    """Say in each part's metadata which of its inputs are states, where the target keeps states.

    A cache is one where it goes in and comes out in the same shape (forms `whole` and `in-place`), as floats, and
    one part alone reads and makes it: what others need has to leave.

    Args:
        parts: all parts of one static graph.
        record: names the caches.
        target: the chip.
    """
    if not target.descriptor.cache.states or record.cache_form == "new":
        return
    models = list(parts)
    ports = [{value.name: value for value in (*model.graph.inputs, *model.graph.outputs)} for model in models]
    shared = Counter(name for names in ports for name in names)
    for model, values in zip(models, ports, strict=True):
        for cache in record.caches:
            given, made = values.get(cache.input), values.get(cache.output)
            if given is None or made is None or shared[cache.input] > 1 or shared[cache.output] > 1:
                continue
            floats = element_type(given) == element_type(made) == DataType.FLOAT
            if floats and dims(given) == dims(made):
                model.metadata_props[f"{STATE}{cache.input}"] = cache.output
