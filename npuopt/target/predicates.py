"""Named conditions for what the closed set cannot say. A predicate's docstring is its documentation.

A predicate takes a node and returns what is at fault, as one sentence with the value in it, or an empty string.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from npuopt.graph import attribute, dims, input_at, rank, static_shape

if TYPE_CHECKING:
    from npuopt.graph import Node

Predicate: TypeAlias = "Callable[[Node], str]"

PREDICATES: dict[str, Predicate] = {}


def predicate(name: str) -> Callable[[Predicate], Predicate]:
    """Register a predicate under the name that descriptors use."""

    def register(function: Predicate) -> Predicate:
        PREDICATES[name] = function
        return function

    return register


@predicate("inputs-have-equal-rank")
def inputs_have_equal_rank(node: Node) -> str:
    """All inputs have the same number of dimensions."""
    ranks = [rank(value) for value in node.inputs if value is not None]
    return "" if len(set(ranks)) <= 1 else f"the inputs have ranks {', '.join(map(str, ranks))}; equal ranks are taken"


@predicate("inputs-have-equal-shape")
def inputs_have_equal_shape(node: Node) -> str:
    """All inputs have the same shape: nothing is broadcast."""
    shapes = [dims(value) for value in node.inputs if value is not None]
    if len(set(shapes)) <= 1:
        return ""
    return f"the inputs have shapes {' and '.join(str(list(shape or ())) for shape in shapes)}; nothing is broadcast"


@predicate("convolution-is-depthwise-or-dense")
def convolution_is_depthwise_or_dense(node: Node) -> str:
    """The attribute group is 1 or equals the number of input channels."""
    group = attribute(node, "group", 1)
    shape = static_shape(input_at(node, 0))
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    return "" if group in (1, channels) else f"group is {group}; 1 or the number of channels ({channels}) is taken"


@predicate("padding-is-symmetric")
def padding_is_symmetric(node: Node) -> str:
    """The attribute pads has the same number before and after, on every axis."""
    found = node.attributes.get("pads")
    pads = list(found.as_ints()) if found is not None else []
    half = len(pads) // 2
    return "" if pads[:half] == pads[half:] else f"pads is {pads}; equal padding before and after is taken"


@predicate("batch-and-channels-are-kept")
def batch_and_channels_are_kept(node: Node) -> str:
    """The first two dimensions of output 0 are those of input 0."""
    before, after = dims(input_at(node, 0)), dims(node.outputs[0])
    if before is not None and after is not None and before[:2] == after[:2]:
        return ""
    return f"{list(before or ())} becomes {list(after or ())}; the first two dimensions have to stay"


@predicate("first-input-is-not-broadcast")
def first_input_is_not_broadcast(node: Node) -> str:
    """Input 0 has the shape of output 0; only the other inputs are broadcast."""
    given, made = dims(input_at(node, 0)), dims(node.outputs[0])
    return "" if given == made else f"input 0 is broadcast from {list(given or ())} to {list(made or ())}"


@predicate("scale-has-the-last-dimension")
def scale_has_the_last_dimension(node: Node) -> str:
    """The last dimension of input 1 is that of input 0: no single value stands for all."""
    data, scale = dims(input_at(node, 0)), dims(input_at(node, 1))
    if data and scale and data[-1] == scale[-1]:
        return ""
    return f"the scale has shape {list(scale or ())}, and the data ends in {data[-1] if data else 'nothing'}"
