"""What tells two models apart before any number is computed."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from npuopt.graph import constant, dims, element_type, fingerprint, graphs_of, label, nodes, static_shape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from npuopt.graph import Model, Value

BLOCK = 1 << 20
"""Elements of a weight that are compared at a time, so that no large weight is held."""


@dataclass(frozen=True)
class Structure:
    """How two models differ, `before` being the first of them.

    Attributes:
        same: equal graphs and equal weights, whatever inner values and nodes are called.
        nodes: how many each has, subgraphs included.
        weight_bytes: of each model's initializers.
        ops: op type -> how many of it each has, where the numbers differ.
        interface: one sentence for each input or output that differs.
        weights: one sentence for each initializer of a name that both have and that differs.
        only_before: nodes (by name) that only the first has.
        only_after: nodes (by name) that only the second has.
    """

    same: bool
    nodes: tuple[int, int]
    weight_bytes: tuple[int, int]
    ops: dict[str, tuple[int, int]]
    interface: tuple[str, ...]
    weights: tuple[str, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain data."""
        return asdict(self)


def compare_structure(before: Model, after: Model) -> Structure:
    """Compare two loaded models; equal weights are recognised by their bytes, which are read once."""
    ops, ops_after = _op_counts(before), _op_counts(after)
    names, names_after = _node_names(before), _node_names(after)
    return Structure(
        same=fingerprint(before) == fingerprint(after),
        nodes=(ops.total(), ops_after.total()),
        weight_bytes=(_weight_bytes(before), _weight_bytes(after)),
        ops={op: (ops[op], ops_after[op]) for op in sorted({*ops, *ops_after}) if ops[op] != ops_after[op]},
        interface=tuple(_interface("input", before.graph.inputs, after.graph.inputs))
        + tuple(_interface("output", before.graph.outputs, after.graph.outputs)),
        weights=tuple(_weights(before, after)),
        only_before=tuple(name for name in names if name not in names_after),
        only_after=tuple(name for name in names_after if name not in names),
    )


def describe_value(value: Value) -> str:
    """Write a value's type and shape for a person: `float[N, 4]`."""
    kind, shape = element_type(value), dims(value)
    text = "unknown type" if kind is None else kind.name.lower()
    return text if shape is None else f"{text}[{', '.join('?' if dim is None else str(dim) for dim in shape)}]"


def _op_counts(model: Model) -> Counter[str]:
    return Counter(f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in nodes(model))


def _node_names(model: Model) -> dict[str, None]:
    return dict.fromkeys(label(node) for node in nodes(model))


def _weight_bytes(model: Model) -> int:
    tensors = (value.const_value for graph in graphs_of(model) for value in graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _interface(kind: str, before: Iterable[Value], after: Iterable[Value]) -> list[str]:
    left = {value.name or "": describe_value(value) for value in before}
    right = {value.name or "": describe_value(value) for value in after}
    found = [f"{kind} {name} ({text}) is only in the first" for name, text in left.items() if name not in right]
    found += [f"{kind} {name} ({text}) is only in the second" for name, text in right.items() if name not in left]
    common = [name for name in left if name in right]
    found += [f"{kind} {name}: {left[name]} -> {right[name]}" for name in common if left[name] != right[name]]
    if not found and list(left) != list(right):
        found.append(f"{kind}s come in another order: {', '.join(left)} -> {', '.join(right)}")
    return found


def _weights(before: Model, after: Model) -> list[str]:
    left = {name: value for graph in graphs_of(before) for name, value in graph.initializers.items()}
    found: list[str] = []
    for graph in graphs_of(after):
        for name, value in graph.initializers.items():
            if name in left and (why := _difference(left[name], value)):
                found.append(f"{name}: {why}")
    return found


def _difference(left: Value, right: Value) -> str:
    if (element_type(left), static_shape(left)) != (element_type(right), static_shape(right)):
        return f"{describe_value(left)} -> {describe_value(right)}"
    first, second = constant(left), constant(right)
    if first is None or second is None or first is second:
        return ""
    first, second = first.reshape(-1), second.reshape(-1)
    starts = range(0, first.size, BLOCK)
    other = any(first[at : at + BLOCK].tobytes() != second[at : at + BLOCK].tobytes() for at in starts)
    return "other numbers" if other else ""
