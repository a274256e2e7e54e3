"""Encodings of one profile of a model for another: the same tensors are held the same way, whatever their lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from npuopt.errors import InternalError
from npuopt.graph import input_at, is_op, nodes, producer
from npuopt.quantization.roles import float_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.encodings import Encoding, Encodings

MOVING = ("Expand", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
"""Ops whose outputs hold the numbers of their first input. Shapes decide which of them a graph has."""


def tied(encodings: Encodings, pairs: Iterable[tuple[str, str]]) -> Encodings:
    """Return encodings in which the first tensor of each pair is held as the second: what goes in as what came out."""
    tensors = dict(encodings.tensors)
    for given, made in pairs:
        if made in tensors:
            tensors[given] = tensors[made]
        else:
            tensors.pop(given, None)
    return encodings.model_copy(update={"tensors": tensors})


def carried_over(encodings: Encodings, first: Model, other: Model) -> Encodings:
    """Return the encodings of `other`, a profile of the same decoder that `first` is, from those of `first`.

    Tensors of the same name are held the same way. What only `other` has, as moving numbers takes other ops with
    other shapes, is held as what it moves.

    Raises:
        InternalError: when something of `other` would stay in float that `first` has nothing like.
    """
    known = _names(other)
    tensors = {name: held for name, held in encodings.tensors.items() if name in known}
    _follow_movements(other, tensors)
    strangers = {value.name or "" for value in float_values(other)} - _names(first) - set(tensors)
    if strangers:
        raise InternalError(f"profiles differ: nothing says how {min(strangers)!r} is held")
    uses = {output: held for output, held in encodings.uses.items() if output in known}
    uses |= _conversions(first, other, tensors, uses)
    corrections = {output: held for output, held in encodings.corrections.items() if output in known}
    return encodings.model_copy(update={"tensors": tensors, "uses": uses, "corrections": corrections})


def drift(first: Encodings, other: Encodings) -> list[str]:
    """Return the tensors that two profiles both have and hold in different ways, by name."""
    common = first.tensors.keys() & other.tensors.keys()
    return sorted(name for name in common if first.tensors[name] != other.tensors[name])


def holdings(model: Model) -> Mapping[str, tuple[tuple[float, ...], tuple[int, ...]]]:
    """Return scales and zero points of every activation, as a quantized graph itself has them, by the tensor's name."""
    found: dict[str, tuple[tuple[float, ...], tuple[int, ...]]] = {}
    for node in nodes(model, "QuantizeLinear"):
        numbers = [_numbers(input_at(node, index)) for index in (1, 2)]
        source = node.inputs[0]
        if source is not None and source.name:
            found[source.name] = (numbers[0], tuple(int(point) for point in numbers[1]))
    return found


Holding: TypeAlias = "tuple[str, tuple[float, ...], tuple[int, ...]]"
"""Integer type, scales and zero points."""


def cache_holdings(model: Model, caches: Mapping[str, str]) -> dict[str, set[Holding | None]]:
    """Return every way in which a graph reads and makes integer caches, by input; None stands for any other way.

    Args:
        model: of one profile.
        caches: the output that gives a cache back, by the input that takes it.
    """
    inputs = {value.name: value for value in model.graph.inputs}
    outputs = {value.name: value for value in model.graph.outputs}
    found: dict[str, set[Holding | None]] = {}
    for given, made in caches.items():
        ways = found.setdefault(given, set())
        values = [value for value in (inputs.get(given), outputs.get(made)) if value is not None]
        for value in values:
            node = producer(value, "QuantizeLinear")
            ways.update(set() if node is None else {_holding(node)})
            for use in value.uses():
                moves = is_op(use.node, "TensorScatter", "Slice")
                ways.update(_joined(use.node) if moves else {_holding(use.node)})
        if len(values) < 2:
            ways.add(None)
    return found


def _joined(node: Node) -> set[Holding | None]:
    """Return how what is put beside a cache is held, by the one node that does so."""
    joins = [use.node for value in node.outputs for use in value.uses()] if is_op(node, "Slice") else [node]
    return {_holding(producer(input_at(join, 1), "QuantizeLinear")) for join in joins}


def _holding(node: Node | None) -> Holding | None:
    """Return what a QuantizeLinear or DequantizeLinear says."""
    zero_point = None if node is None else input_at(node, 2)
    if node is None or zero_point is None or zero_point.const_value is None:
        return None
    if not is_op(node, "QuantizeLinear", "DequantizeLinear"):
        return None
    dtype = str(zero_point.const_value.numpy().dtype)
    return dtype, _numbers(input_at(node, 1)), tuple(int(point) for point in _numbers(zero_point))


def _numbers(value: Value | None) -> tuple[float, ...]:
    tensor = None if value is None else value.const_value
    return () if tensor is None else tuple(float(number) for number in tensor.numpy().reshape(-1))


def _follow_movements(model: Model, tensors: dict[str, Encoding]) -> None:
    """Hold what is moved as what it was, and the other way round, until nothing more follows."""
    moves = [node for node in model.graph if is_op(node, *MOVING)]
    before = -1
    while before != len(tensors):
        before = len(tensors)
        for node in moves:
            ends = [node.inputs[0], *node.outputs]
            held = next((tensors[end.name or ""] for end in ends if end is not None and end.name in tensors), None)
            if held is None or held.axis is not None:
                continue
            for end in ends:
                if end is not None and end.name and end.const_value is None:
                    tensors.setdefault(end.name, held)


def _conversions(
    first: Model, other: Model, tensors: Mapping[str, Encoding], uses: Mapping[str, Mapping[int, Encoding]]
) -> dict[str, dict[int, Encoding]]:
    """Return how moves that only `other` has read what they move, where that is held in another way than the result."""
    same = {(_source(node), value.name) for node in first.graph for value in node.outputs}
    found: dict[str, dict[int, Encoding]] = {}
    for node in other.graph:
        result = node.outputs[0].name or ""
        held, given = tensors.get(result), tensors.get(_source(node))
        if not is_op(node, *MOVING) or held is None or (_source(node), result) in same or result in uses:
            continue
        if given is not None and given != held:
            found[result] = {0: held}
    return found


def _source(node: Node) -> str:
    value = node.inputs[0] if node.inputs else None
    return "" if value is None else value.name or ""


def _names(model: Model) -> set[str]:
    made = (value for node in model.graph for value in node.outputs)
    return {value.name or "" for value in (*model.graph.inputs, *model.graph.initializers.values(), *made)}
