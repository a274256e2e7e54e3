"""Equal weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from npuopt.graph import DataType, Editor, element_type, graphs_of, is_constant, static_shape
from npuopt.graph.fingerprint import content_key
from npuopt.graph.mapped import InFile
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from onnx_ir import TensorProtocol

    from npuopt.graph import Model, Value
    from npuopt.target import Target

SAMPLE = 256
"""Elements, spread over a tensor in memory, that are compared before the whole of it."""


@dataclass(frozen=True)
class FoldDuplicateInitializers(Pass):
    """Initializers with the same type, shape and bytes become one.

    y = MatMul(x, w), z = MatMul(x, v) -> y = MatMul(x, w), z = MatMul(x, w)      where w and v are equal

    Bytes are read only of initializers that have the type and shape of another, a sample first: 0.0 and -0.0 differ,
    a NaN equals itself. Branches and loop bodies are looked at one by one.

    Left alone: defaults of graph inputs, which callers may override one by one; graph outputs; text.
    """

    name: ClassVar[str] = "fold-duplicate-initializers"

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Compare within each graph: type and shape, then a sample, then everything."""
        del target
        report = Report(self.name)
        edit = Editor(model)
        for graph in graphs_of(model):
            values = [value for value in graph.initializers.values() if _may_share(value)]
            for alike in _groups(values, _type_and_shape):
                for likely in _groups(alike, _sample):
                    for kept, *others in [likely] if _is_its_sample(likely[0]) else _groups(likely, _contents):
                        for value in others:
                            edit.replace(value, kept)
                            del graph.initializers[value.name or ""]
                            report.changed.append(Entry(value.name or "", "initializer", f"equals {kept.name}"))
        return report


def _may_share(value: Value) -> bool:
    return is_constant(value) and not value.is_graph_output() and element_type(value) != DataType.STRING


def _groups(values: Iterable[Value], key: Callable[[Value], Hashable]) -> list[list[Value]]:
    """Return the values that share a key with another, in order."""
    groups: defaultdict[Hashable, list[Value]] = defaultdict(list)
    for value in values:
        groups[key(value)].append(value)
    return [group for group in groups.values() if len(group) > 1]


def _tensor(value: Value) -> TensorProtocol:
    return cast("TensorProtocol", value.const_value)


def _type_and_shape(value: Value) -> Hashable:
    return element_type(value), static_shape(value)


def _sample(value: Value) -> Hashable:
    tensor = _tensor(value)
    if isinstance(tensor, InFile):
        return tensor.sample()
    flat = tensor.numpy().reshape(-1)
    return flat[:: max(1, flat.size // SAMPLE)].tobytes()


def _is_its_sample(value: Value) -> bool:
    """Say whether the sample of a value holds all of it."""
    tensor = _tensor(value)
    return tensor.is_short if isinstance(tensor, InFile) else tensor.size < 2 * SAMPLE


def _contents(value: Value) -> Hashable:
    return content_key(_tensor(value))
