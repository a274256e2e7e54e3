"""Looks at inner tensors of a model while samples run through it, a portion of them at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import static_shape

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from npuopt.graph import Model, Value
    from npuopt.graph.execution import Session

TAP_BYTES = 256 * 2**20
"""Activations of one sample that are held at a time; a model with more is run once for each portion."""


def portions(values: Sequence[Value], limit: int) -> list[list[Value]]:
    """Cut the list into portions of at most `limit` bytes of floats each; at least one value in each."""
    cut: list[list[Value]] = []
    size = limit
    for value in values:
        needed = 4 * int(np.prod(static_shape(value) or (1,)))
        if not cut or size + needed > limit:
            cut.append([])
            size = 0
        cut[-1].append(value)
        size += needed
    return cut


def tapped_session(model: Model, values: Iterable[Value], *, optimize: bool, threads: int) -> Session:
    """Open the model with `values`, made by its nodes, as its only outputs. The model comes back as it was."""
    from npuopt.graph.execution import Session  # noqa: PLC0415 -- imports onnxruntime, which passes can do without

    with _only_outputs(model, values):
        return Session(model, optimize=optimize, threads=threads)


@contextmanager
def _only_outputs(model: Model, values: Iterable[Value]) -> Generator[None]:
    """Make `values` the only graph outputs for as long as the context lasts."""
    outputs = model.graph.outputs
    before = list(outputs)
    outputs.clear()
    outputs.extend(values)
    try:
        yield
    finally:
        outputs.clear()
        outputs.extend(before)
