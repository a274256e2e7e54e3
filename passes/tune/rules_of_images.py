"""What ops over images do with units along an axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, is_constant, static_shape
from npuopt.passes.tune.rules_of_shapes import same_axis
from npuopt.passes.tune.tracing import Place

if TYPE_CHECKING:
    from npuopt.graph import Node
    from npuopt.passes.tune.tracing import Tracing

CHANNELS = 1
"""The axis of channels in convolutions, pools and normalizations over images."""


def over_images(tracing: Tracing, node: Node) -> None:
    """Pools: channels stay what they are."""
    place = tracing.of(node.inputs[0]) or tracing.of(node.outputs[0])
    if place is not None and place.axis > CHANNELS:
        tracing.refuse(node, "mixes them")
        return
    same_axis(tracing, node)


def batch_normalization(tracing: Tracing, node: Node) -> None:
    """The parameters hold the channels too."""
    place = tracing.of(node.inputs[0]) or tracing.of(node.outputs[0])
    if place is None or place.axis != CHANNELS or len(node.outputs) > 1:
        tracing.refuse(node, "mixes them")
        return
    same_axis(tracing, node)
    for index in range(1, 5):
        tracing.read(node, index, Place(0, place.run))


def conv(tracing: Tracing, node: Node) -> None:
    """The weight holds what it reads along axis 1 and what it makes along axis 0; depthwise, both are the same."""
    weight, groups = static_shape(input_at(node, 1)), attribute(node, "group", 1)
    read, made = tracing.of(node.inputs[0]), tracing.of(node.outputs[0])
    if (
        weight is None
        or not is_constant(input_at(node, 1))
        or any(p is not None and p.axis != CHANNELS for p in (read, made))
    ):
        tracing.refuse(node, "mixes them")
    elif groups == 1:
        if read is not None:
            tracing.read(node, 1, Place(1, read.run))
        if made is not None:
            _make(tracing, node, Place(0, made.run))
    elif weight[0] == groups and weight[1] == 1:
        place = read or made
        if place is not None:
            tracing.read(node, 0, place)
            tracing.hold(node.outputs[0], place)
            _make(tracing, node, Place(0, place.run))
            tracing.attributes[node, "group"] = place.run
    else:
        tracing.refuse(node, "has groups of them")


def _make(tracing: Tracing, node: Node, place: Place) -> None:
    """The weight has its outputs along `place`, and so has the bias."""
    tracing.read(node, 1, place)
    if input_at(node, 2) is not None:
        tracing.read(node, 2, Place(0, place.run))
