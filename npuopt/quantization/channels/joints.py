"""Where a factor for each channel can move from what makes the channels into what reads them, exactly.

What a normalization or a linear layer makes may be divided by one positive factor for each channel, if all that reads
it multiplies by the same factors: `W2 (W1 x) = (W2 S) (S^-1 W1 x)`. Ops in between have to let factors pass. Where a
product of two tensors sums over the channels, the other tensor has to be multiplied: `(q S) (S^-1 k)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, input_at, is_constant, is_op, label, rank, static_shape
from npuopt.quantization.channels.joint import LINEAR, NORMALIZATIONS, Joint
from npuopt.quantization.channels.walking import MOST_ELEMENTS, Walk
from npuopt.target.channels import channel_axis

if TYPE_CHECKING:
    from npuopt.graph import Model, Node


def joints(model: Model) -> list[Joint]:
    """List the joints of the main graph in graph order, those among them that cannot be used with what is in the way.

    A node whose channels neither a linear layer reads nor a product sums over is none.
    """
    found = [joint_at(node, model) for node in model.graph if is_op(node, *NORMALIZATIONS, *LINEAR)]
    return [joint for joint in found if joint is not None]


def joint_at(node: Node, model: Model) -> Joint | None:
    """Return the joint behind `node`; None where constants make no channels, or nothing takes their factors."""
    axis = _made_along(node)
    shape = static_shape(node.outputs[0])
    if axis is None or shape is None or not shape or int(np.prod(shape)) > MOST_ELEMENTS:
        return None
    joint = Joint(node, shape[axis])
    by_axis = np.arange(shape[axis]).reshape([-1 if index == axis else 1 for index in range(len(shape))])
    Walk(joint, model).follow(node.outputs[0], np.broadcast_to(by_axis, shape))
    return joint if joint.readers or joint.products else None


def obstacle(joint: Joint) -> str:
    """Say why no factors of the joint can move, whatever those of other joints are; an empty string if some can."""
    if joint.why:
        return joint.why
    weights = [(reader.node, 1) for reader in joint.readers]
    if joint.is_linear:
        weights.append((joint.maker, 1))
    for node, index in weights:
        weight = input_at(node, index)
        if weight is not None and len(weight.uses()) > 1:
            return f"{weight.name} is read elsewhere too"
    return ""


def refusal(joint: Joint) -> str:
    """Say why factors of any size cannot move from the joint's maker to its readers alone; empty when they can."""
    for product in joint.products:
        return f"{label(product.node)} ({product.node.op_type}) sums over them, and so does not let factors pass"
    if len(joint.ties):
        return "channels that are added to one another need the same factor"
    return obstacle(joint)


def _made_along(node: Node) -> int | None:
    """Return the axis of its output along which `node` makes channels by constants of their own."""
    weight = input_at(node, 1)
    if weight is None or not is_constant(weight) or (len(node.inputs) > 2 and not _is_constant_or_absent(node, 2)):
        return None
    output_rank = rank(node.outputs[0]) or 0
    if is_op(node, *NORMALIZATIONS):
        is_last = attribute(node, "axis", -1) in (-1, output_rank - 1) and rank(weight) == 1
        return output_rank - 1 if is_last and len(node.outputs) == 1 else None
    if is_op(node, "Conv"):
        return 1
    return output_rank - 1 if channel_axis(node, 1) is not None else None


def _is_constant_or_absent(node: Node, index: int) -> bool:
    value = input_at(node, index)
    return value is None or is_constant(value)
