"""Takes units out of a graph: chooses those that weigh least, and cuts every constant, shape and count they are in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.errors import UsageError
from npuopt.graph import Shape, constant, dims, integers, label
from npuopt.pipeline import Entry

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.passes.tune.tracing import Tracing
    from npuopt.pipeline import Report


def require_share(share: float, multiple: int) -> None:
    """Check a pruning pass's options.

    Raises:
        UsageError: when the share is not in [0, 1), or the multiple not at least 1.
    """
    if not 0 <= share < 1:
        raise UsageError(f"share {share} is not at least 0 and below 1")
    if multiple < 1:
        raise UsageError(f"multiple {multiple} is not at least 1")


@dataclass(frozen=True)
class Cutter:
    """Takes units out as a pass is asked to, and reports it.

    Attributes:
        share: of the units that goes.
        multiple: what stays is rounded up to a multiple of it.
        unit: what they are called.
        report: of the pass.
        edit: of the model.
    """

    share: float
    multiple: int
    unit: str
    report: Report
    edit: Editor

    def drop(self, tracing: Tracing, node: Node) -> None:
        """Take the least of the traced units out, or report why they cannot be followed; `node` is where they begin."""
        if tracing.why:
            self.report.declined.append(Entry(label(node), node.op_type, tracing.why))
            return
        kept = kept_units(tracing, self.share, self.multiple)
        if len(kept) < tracing.units:
            cut(tracing, kept, self.edit)
            text = f"{tracing.units} {self.unit} -> {len(kept)}"
            self.report.changed.append(Entry(label(node), node.op_type, text))


def kept_units(tracing: Tracing, share: float, multiple: int) -> np.ndarray:
    """Return the indexes of the units that stay, in order: those whose weights have the largest squares.

    Each weight that has a part for each unit counts the same, whatever its size. Source of the measure: Fang et al.,
    "DepGraph: Towards Any Structural Pruning", CVPR 2023, section 3.3.

    Args:
        tracing: what has parts for them.
        share: of the units that goes, rounded down.
        multiple: the number that stays is rounded up to a multiple of it.
    """
    count = tracing.units - int(tracing.units * share)
    count = min(-(-count // multiple) * multiple, tracing.units)
    weight = np.zeros(tracing.units)
    for (node, index), by_axis in tracing.cuts.items():
        array = cast("np.ndarray", constant(node.inputs[index]))
        for axis in by_axis if array.ndim > 1 else ():
            squares = np.square(np.moveaxis(array, axis, 0).reshape(tracing.units, -1).astype(np.float64)).sum(axis=1)
            weight += squares / max(float(squares.mean()), 1e-30)
    return np.sort(np.argsort(-weight, kind="stable")[:count])


def cut(tracing: Tracing, kept: np.ndarray, edit: Editor) -> None:
    """Leave the units `kept` in the graph, and no others."""
    made: dict[tuple[Value, tuple[tuple[int, int], ...]], Value] = {}
    for (node, index), by_axis in tracing.cuts.items():
        value = cast("Value", node.inputs[index])
        key = value, tuple(sorted(by_axis.items()))
        if key not in made:
            array = cast("np.ndarray", constant(value))
            for axis, run in by_axis.items():
                array = np.take(array, (kept[:, None] * run + np.arange(run)).reshape(-1), axis=axis)
            made[key] = edit.constant(np.ascontiguousarray(array), near=node, name=value.name or "")
        node.replace_input_with(index, made[key])
    for value, _ in made:
        _drop_unread(value, tracing)
    for node, entry in tracing.sizes.items():
        _resize(node, entry, len(kept), tracing.units, edit)
    for (node, name), run in tracing.attributes.items():
        edit.set_attribute(node, name, len(kept) * run)
    for value, place in tracing.places.items():
        sizes = list(dims(value) or ())
        sizes[place.axis] = len(kept) * place.run
        value.shape = Shape(sizes)


def _resize(node: Node, entry: int, kept: int, units: int, edit: Editor) -> None:
    sizes = integers(node.inputs[1]) or []
    sizes[entry] = sizes[entry] // units * kept
    before = cast("Value", node.inputs[1])
    node.replace_input_with(1, edit.constant(np.asarray(sizes, np.int64), near=node, name=before.name or ""))


def _drop_unread(value: Value, tracing: Tracing) -> None:
    name = value.name or ""
    if not value.uses() and not value.is_graph_output() and name in tracing.graph.initializers:
        del tracing.graph.initializers[name]
