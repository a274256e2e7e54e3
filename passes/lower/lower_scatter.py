from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, input_at, static_shape
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Builder, Node, Value

OPERATIONS = {"add": "Add", "max": "Max", "min": "Min", "mul": "Mul"}
"""Reduction -> op."""


@dataclass(frozen=True)
class LowerScatter(FormulaLowering):
    """ScatterND and ScatterElements with constant indices become a Gather from old and new values.

    `ScatterND(x, i, u) -> Reshape(Gather(Concat(Reshape(x), Reshape(u)), p))` where p names for each place the old
    value, or the last update for it; with a reduction, the updates are combined with the old values first.

    Left alone: indices given at run time; a reduction that updates a place twice; shapes that are not static or have
    no elements.
    """

    name = "lower-scatter"
    op_types = ("ScatterElements", "ScatterND")
    produces = frozenset({"Add", "Concat", "Gather", "Max", "Min", "Mul", "Reshape"})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the old values with the updates in their places."""
        shape, indices, updates = static_shape(x), constant(input_at(node, 1)), input_at(node, 2)
        if shape is None or updates is None or 0 in shape or not shape:
            return Declined("its shape is not static, or has no elements")
        if indices is None or not indices.size:
            return Declined("its indices are not constant, or there are none")
        elements = node.op_type == "ScatterElements"
        rows, targets = _elements(shape, indices, node) if elements else _slices(shape, indices)
        reduction = attribute(node, "reduction", "none")
        if reduction != "none" and len(set(targets.tolist())) < len(targets):
            return Declined(f"the reduction {reduction} updates a place twice")
        width = math.prod(shape) // rows
        old = build("Reshape", x, build.integers(rows, width))
        new = build("Reshape", updates, build.integers(len(targets), width))
        if reduction != "none":
            here = build("Gather", old, build.edit.constant(targets, near=node), axis=0)
            new = build(OPERATIONS[reduction], here, new)
        sources = np.arange(rows)
        np.put(sources, targets, rows + np.arange(len(targets)))
        every = build("Concat", old, new, axis=0)
        return build(
            "Reshape", build("Gather", every, build.edit.constant(sources, near=node), axis=0), build.integers(*shape)
        )


def _slices(shape: tuple[int, ...], indices: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the number of slices and the slice that each update goes to."""
    sizes = np.array(shape[: indices.shape[-1]])
    places = np.where(indices < 0, indices + sizes, indices).reshape(-1, indices.shape[-1])
    return math.prod(sizes.tolist()), np.ravel_multi_index(tuple(places.T), tuple(sizes.tolist()))


def _elements(shape: tuple[int, ...], indices: np.ndarray, node: Node) -> tuple[int, np.ndarray]:
    """Return the number of elements and the element that each update goes to."""
    axis = attribute(node, "axis", 0) % len(shape)
    along = np.where(indices < 0, indices + shape[axis], indices)
    grid = tuple(along if place == axis else other for place, other in enumerate(np.indices(indices.shape)))
    return math.prod(shape), np.ravel_multi_index(grid, shape).reshape(-1)
