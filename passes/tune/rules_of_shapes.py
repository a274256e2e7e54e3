"""What ops that move, join and part data do with units along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import attribute, attribute_list, input_at, integers, is_op, rank, static_shape
from npuopt.passes.tune.tracing import Place, moved

if TYPE_CHECKING:
    from npuopt.graph import Node
    from npuopt.passes.tune.tracing import Tracing


def same_axis(tracing: Tracing, node: Node) -> None:
    """Input 0 and the output hold them along the same axis."""
    place = tracing.of(node.inputs[0]) or tracing.of(node.outputs[0])
    if place is not None:
        tracing.read(node, 0, place)
        tracing.hold(node.outputs[0], place)


def transpose(tracing: Tracing, node: Node) -> None:
    """The order says where the axis goes."""
    order = attribute_list(node, "perm") or list(reversed(range(rank(node.inputs[0]) or 0)))
    read, made = tracing.of(node.inputs[0]), tracing.of(node.outputs[0])
    if read is not None:
        tracing.hold(node.outputs[0], Place(order.index(read.axis), read.run))
    if made is not None:
        tracing.read(node, 0, Place(order[made.axis], made.run))


def reshape(tracing: Tracing, node: Node) -> None:
    """The units stay together: their axis is kept, or taken apart and joined around them."""
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if before is None or after is None:
        tracing.refuse(node, "has a shape that is not known")
        return
    read, made = tracing.of(node.inputs[0]), tracing.of(node.outputs[0])
    if read is not None:
        made = moved(read, before, after, tracing.units)
    elif made is not None:
        read = moved(made, after, before, tracing.units)
    if read is None or made is None:
        tracing.refuse(node, "tears them apart")
        return
    tracing.read(node, 0, read)
    tracing.hold(node.outputs[0], made)
    if is_op(node, "Reshape"):
        _name_in_shape(tracing, node, made)


def expand(tracing: Tracing, node: Node) -> None:
    """What is stretched is not the units, whose axis the shape may name."""
    read = tracing.of(node.inputs[0]) or tracing.of(node.outputs[0])
    if read is None or rank(node.inputs[0]) != rank(node.outputs[0]):
        tracing.refuse(node, "adds axes in front of them")
        return
    same_axis(tracing, node)
    _name_in_shape(tracing, node, read)


def _name_in_shape(tracing: Tracing, node: Node, place: Place) -> None:
    """Where the constant shape names the units' axis by its size, the entry has to change."""
    sizes = integers(input_at(node, 1))
    if sizes is None or place.axis >= len(sizes):
        tracing.refuse(node, "has a shape that is not known")
    elif sizes[place.axis] == tracing.units * place.run:
        tracing.sizes[node] = place.axis


def concat(tracing: Tracing, node: Node) -> None:
    """Joined along another axis; then every part holds them."""
    place = next(place for value in (*node.inputs, *node.outputs) if (place := tracing.of(value)) is not None)
    if attribute(node, "axis", 0) % (rank(node.outputs[0]) or 1) == place.axis:
        tracing.refuse(node, "joins them with others")
        return
    for index in range(len(node.inputs)):
        tracing.read(node, index, place)
    tracing.hold(node.outputs[0], place)


def split(tracing: Tracing, node: Node) -> None:
    """Parted along another axis; then every part holds them."""
    place = next(place for value in (node.inputs[0], *node.outputs) if (place := tracing.of(value)) is not None)
    if attribute(node, "axis", 0) % (rank(node.inputs[0]) or 1) == place.axis:
        tracing.refuse(node, "parts them")
        return
    tracing.read(node, 0, place)
    for output in node.outputs:
        tracing.hold(output, place)


def slice_(tracing: Tracing, node: Node) -> None:
    """Cut along other axes."""
    starts, axes = integers(input_at(node, 1)), integers(input_at(node, 3))
    place, size = tracing.of(node.inputs[0]) or tracing.of(node.outputs[0]), rank(node.inputs[0]) or 1
    given = range(len(starts)) if starts is not None and input_at(node, 3) is None else axes
    if given is None or (place is not None and place.axis in [axis % size for axis in given]):
        tracing.refuse(node, "picks some of them")
        return
    same_axis(tracing, node)
