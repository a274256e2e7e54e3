"""What each op does with units along an axis of what it reads and makes.

A rule runs whenever a tensor that its node reads or makes is found to hold units; it says what else holds them then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, is_constant, rank, static_shape
from npuopt.passes.tune.rules_of_images import batch_normalization, conv, over_images
from npuopt.passes.tune.rules_of_shapes import concat, expand, reshape, same_axis, slice_, split, transpose
from npuopt.passes.tune.tracing import Place

if TYPE_CHECKING:
    from npuopt.graph import Node
    from npuopt.passes.tune.tracing import Rule, Tracing


def _elementwise(tracing: Tracing, node: Node) -> None:
    """Every operand that is not broadcast along the units' axis holds them too, counted from the last axis on."""
    output = node.outputs[0]
    found = [(rank(value) or 0, place) for value in (output, *node.inputs) if (place := tracing.of(value)) is not None]
    if not found:
        return
    from_end, run = found[0][0] - found[0][1].axis, found[0][1].run
    for index, value in enumerate(node.inputs):
        shape = static_shape(value)
        if value is None or (shape is not None and (len(shape) < from_end or shape[-from_end] == 1)):
            continue
        tracing.read(node, index, Place((rank(value) or 0) - from_end, run))
    tracing.hold(output, Place((rank(output) or 0) - from_end, run))


def _matmul(tracing: Tracing, node: Node) -> None:
    right, output = node.inputs[1], node.outputs[0]
    if is_constant(right) and rank(right) == 2:
        last_in, last_out = (rank(node.inputs[0]) or 0) - 1, (rank(output) or 0) - 1
        read, made = tracing.of(node.inputs[0]), tracing.of(output)
        if read is not None and read.axis == last_in:
            tracing.read(node, 1, Place(0, read.run))
        elif read is not None:
            tracing.hold(output, read)
        if made is not None and made.axis == last_out:
            tracing.read(node, 1, Place(1, made.run))
        elif made is not None:
            tracing.read(node, 0, made)
        return
    places = [
        (rank(value) or 0) - place.axis for value in (*node.inputs, output) if (place := tracing.of(value)) is not None
    ]
    if min(places) <= 2:  # the matrices themselves
        tracing.refuse(node, "multiplies them with each other")
        return
    _elementwise(tracing, node)


def _gemm(tracing: Tracing, node: Node) -> None:
    outputs, features = (0, 1) if attribute(node, "transB", 0) else (1, 0)
    read, made = tracing.of(node.inputs[0]), tracing.of(node.outputs[0])
    if attribute(node, "transA", 0) or any(place is not None and place.axis != 1 for place in (read, made)):
        tracing.refuse(node, "mixes them")
        return
    if read is not None:
        tracing.read(node, 1, Place(features, read.run))
    if made is not None:
        tracing.read(node, 1, Place(outputs, made.run))
        bias = static_shape(input_at(node, 2))
        if bias and bias[-1] != 1:
            tracing.read(node, 2, Place(len(bias) - 1, made.run))


def _softmax(tracing: Tracing, node: Node) -> None:
    place = tracing.of(node.inputs[0]) or tracing.of(node.outputs[0])
    if place is not None and attribute(node, "axis", -1) % (rank(node.outputs[0]) or 1) == place.axis:
        tracing.refuse(node, "mixes them")
        return
    same_axis(tracing, node)


def _normalization(tracing: Tracing, node: Node) -> None:
    place = tracing.of(node.inputs[0]) or tracing.of(node.outputs[0])
    if place is None or place.axis >= attribute(node, "axis", -1) % (rank(node.inputs[0]) or 1):
        tracing.refuse(node, "mixes them")
        return
    same_axis(tracing, node)


def _rotary_embedding(tracing: Tracing, node: Node) -> None:
    place = tracing.of(node.inputs[0]) or tracing.of(node.outputs[0])
    if rank(node.inputs[0]) != 4 or place is None or place.axis != 1:
        tracing.refuse(node, "turns them in pairs")
        return
    same_axis(tracing, node)


def _attention(tracing: Tracing, node: Node) -> None:
    """Heads along axis 1; each head of the keys belongs to as many of the queries."""
    query, mask = static_shape(node.inputs[0]), static_shape(input_at(node, 3))
    if query is None or len(query) != 4 or (mask is not None and len(mask) == 4 and mask[1] != 1):
        tracing.refuse(node, "has its heads in another form")
        return
    if query[1] % tracing.units or any(
        place.axis != 1 for value in (*node.inputs, *node.outputs) if (place := tracing.of(value))
    ):
        tracing.refuse(node, "mixes them")
        return
    for index in (0, 1, 2, 4, 5):
        if input_at(node, index) is not None:
            tracing.read(node, index, Place(1, query[1] // tracing.units if index == 0 else 1))
    for index, output in enumerate(node.outputs[:3]):
        if output.name:
            tracing.hold(output, Place(1, query[1] // tracing.units if index == 0 else 1))


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "Abs", "Add", "Cast", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity",
            "LeakyRelu", "Mish", "Mul", "Neg", "PRelu", "Pow", "Relu", "Sigmoid", "Softplus", "Sqrt", "Sub", "Swish",
            "Tanh", "Where",
        ),
        _elementwise,
    ),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), over_images),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _normalization),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), reshape),
    **dict.fromkeys(("LogSoftmax", "Softmax"), _softmax),
    "Attention": _attention,
    "BatchNormalization": batch_normalization,
    "Concat": concat,
    "Conv": conv,
    "Expand": expand,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "RotaryEmbedding": _rotary_embedding,
    "Slice": slice_,
    "Split": split,
    "Transpose": transpose,
}  # fmt: skip
