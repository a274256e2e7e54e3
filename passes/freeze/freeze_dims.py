"""Symbolic dims get the sizes that the model is to be compiled for."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import Shape, dims, graphs_of, infer_shapes
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Value
    from npuopt.target import Target

UNNAMED = "?"
"""Stands for a dim without a name; two of them need not be equal."""


@dataclass(frozen=True)
class FreezeDims(Pass):
    """Named dims of the graph's inputs become fixed sizes, and every shape that follows from them.

    x: float[batch, 3, N] with batch=1 -> x: float[1, 3, N]

    A dim that has no name is reached by position: `x:0`.

    Shapes that the file notes for its values are forgotten: they may have been noted for other sizes.

    Left alone: dims that are not named here. Declined: names that the model does not have, sizes below 0, two sizes
    for one dim.

    Attributes:
        dims: name (or `input:position`) and size of each.
    """

    name: ClassVar[str] = "freeze-dims"
    gives: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    breaks: ClassVar[frozenset[str]] = frozenset({"constants-folded"})
    keeps_interface: ClassVar[bool] = False

    dims: tuple[tuple[str, int], ...] = ()

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Set the dims of inputs and outputs and infer all shapes anew."""
        del target
        report = Report(self.name)
        known = _names(model)
        sizes: dict[str, int] = {}
        for given, size in self.dims:
            why = _unknown(given, known) if given not in known else _conflict(given, size, known, sizes)
            if why:
                report.declined.append(Entry(given, "dim", why))
                continue
            sizes[given] = size
            if known[given] != UNNAMED:
                sizes[known[given]] = size
        for value in model.graph.inputs:
            before = dims(value)
            if before is None:
                continue
            after = tuple(sizes.get(f"{value.name}:{axis}", _size(dim, sizes)) for axis, dim in enumerate(before))
            if after != before:
                value.shape = Shape(after)
                report.changed.append(Entry(value.name or "", "input", f"{_text(before)} -> {_text(after)}"))
        if report.changed:
            _freeze_elsewhere(model, sizes)
            infer_shapes(model, forget=True)  # shapes noted for other sizes would stand against these
        return report


def _freeze_elsewhere(model: Model, sizes: dict[str, int]) -> None:
    """Set named dims wherever they stand; what depends on them otherwise is inferred."""
    for graph in graphs_of(model):
        made: list[Value] = [value for node in graph for value in node.outputs]
        for value in (*made, *graph.outputs):
            before = dims(value)
            if before is not None:
                value.shape = Shape(tuple(_size(dim, sizes) for dim in before))


def _size(dim: int | str | None, sizes: dict[str, int]) -> int | str | None:
    return sizes.get(dim, dim) if isinstance(dim, str) and dim != UNNAMED else dim


def _names(model: Model) -> dict[str, str]:
    """Map what a dynamic dim can be called (its name, or `input:axis`) to its name."""
    names: dict[str, str] = {}
    for value in model.graph.inputs:
        for axis, dim in enumerate(dims(value) or ()):
            if not isinstance(dim, int):
                names[f"{value.name}:{axis}"] = dim or UNNAMED
                if dim is not None and dim != UNNAMED:
                    names[dim] = dim
    return names


def _unknown(name: str, known: dict[str, str]) -> str:
    close = get_close_matches(name, known, n=1)
    shown = dict.fromkeys(position if dim == UNNAMED else dim for position, dim in known.items())
    listed = f"its dynamic dims: {', '.join(shown)}" if known else "all its inputs are static"
    return f"the model has no dim called {name!r}; {f'did you mean {close[0]}? ' if close else ''}{listed}"


def _conflict(given: str, size: int, known: dict[str, str], sizes: dict[str, int]) -> str:
    if size < 0:
        return f"dim {given!r} cannot have size {size}"
    name = known[given] if known[given] != UNNAMED else given
    return f"dim {name!r} is given as {sizes[name]} and as {size}" if sizes.get(name, size) != size else ""


def _text(shape: tuple[int | str | None, ...]) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"
