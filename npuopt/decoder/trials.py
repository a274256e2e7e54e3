"""Computes what depends on lengths and positions alone, at chosen lengths: a few small runs tell what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import Session, dims, element_type, extract, rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from npuopt.decoder.hints import InputRole
    from npuopt.graph import Model, Value

LARGEST_RUN = 1 << 28
"""Elements that a value may have in a trial."""


@dataclass(frozen=True)
class Roles:
    """What each graph input is.

    Attributes:
        tokens: of token ids or vectors.
        caches: past keys and values, [batch, heads, past, size].
        others: all others.
    """

    tokens: Value
    caches: tuple[Value, ...]
    others: Mapping[str, InputRole]


class Trials:
    """Runs the part of a model that makes some values, for so many new tokens after so many past ones."""

    def __init__(self, model: Model, values: Sequence[Value], roles: Roles) -> None:
        self._names = [value.name or "" for value in values]
        self._roles = roles
        self._values = {value.name: value for value in model.graph.inputs}
        self._session = Session(extract(model, outputs=self._names), threads=1, quiet=True) if values else None
        self._known: dict[tuple[int, int], Mapping[str, np.ndarray]] = {}

    @property
    def past(self) -> int:
        """Past tokens of a small trial: none where the model takes none."""
        return 2 if self._roles.caches else 0

    def run(self, new: int, past: int) -> Mapping[str, np.ndarray]:
        """Return the values, by name.

        Raises:
            InputError: when the model cannot be run at these lengths.
        """
        if self._session is None:
            return {}
        if (new, past) not in self._known:
            feeds = {name: self._feed(name, new, past) for name in self._session.inputs}
            try:
                self._known[new, past] = self._session.run(feeds)
            except InputError as error:
                raise InputError(
                    f"its positions or masks cannot be computed for {past + new} tokens: {error.what}",
                    hint="is the context longer than what the model was made for? --context sets it",
                ) from error
        return self._known[new, past]

    def _feed(self, name: str, new: int, past: int) -> np.ndarray:
        value = self._values[name]
        kind = element_type(value)
        dtype = np.dtype(np.float32) if kind is None else kind.numpy()
        depth = rank(value) or 0
        if value is self._roles.tokens:
            width = (dims(value) or ())[2:]
            return np.zeros((1, new, *(size if isinstance(size, int) else 1 for size in width)), dtype)
        if value in self._roles.caches:
            _, heads, _, size = dims(value) or (1, 1, 1, 1)
            return np.zeros((1, _size(heads), past, _size(size)), dtype)
        if self._roles.others.get(name) == "positions":
            return np.arange(past, past + new).astype(dtype).reshape((1,) * (depth - 1) + (new,))
        return np.ones((1,) * (depth - 1) + (past + new,), dtype)


def _size(dim: int | str | None) -> int:
    return dim if isinstance(dim, int) else 1
