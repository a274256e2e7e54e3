"""Which weights a model holds as integers though it computes in float, and along which axis."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, cast

from npuopt.graph import attribute, attribute_list, is_constant, is_op, rank, static_shape, users
from npuopt.quantization.arithmetic import limits
from npuopt.quantization.assignment.wishes import ONE_FOR_ALL
from npuopt.quantization.block_encodings import SCALE_TYPES, BlockEncoding
from npuopt.target.channels import channel_axis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from npuopt.graph import DataType, Model, Node, Value
    from npuopt.quantization.block_encodings import HeldType
    from npuopt.target import Target
    from npuopt.target.schema import Scheme

MOVERS = ("Cast", "Concat", "Expand", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
"""Ops between a table's rows and what is computed from them."""

FLOAT_BITS = 32

MATRIX = 2
"""Rank of the weights that can be packed."""


@dataclass
class HeldWeights:
    """What a weight-only scheme does to a model's constants.

    Attributes:
        blocks: how weights are held, by name.
        left: weights that stay float, and why.
    """

    blocks: dict[str, BlockEncoding] = field(default_factory=dict[str, BlockEncoding])
    left: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class _Use:
    """How one node uses a weight: the axis that is summed over (a table: a row's), and the output's channels."""

    node: Node
    features: int
    channels: int | None


def held_weights(
    model: Model, target: Target, scheme_name: str, precisions: Mapping[str, str] = ONE_FOR_ALL
) -> HeldWeights:
    """Find the weights that a weight-only scheme holds as integers: of MatMul, Gemm, Conv and embedding tables.

    A weight that several nodes read, through Transpose or not, is held once, if all of them sum over the same axis.
    A table is summed over by nobody; its rows are held as the rows of a tied product are.

    Left in float: weights that something else reads too; tables of angles, whose rows are multiplied with data; what
    would take more bytes than before; ops that do not list the scheme; what a node in a plain float scheme reads.

    Args:
        model: the float model.
        target: says which ops take the scheme.
        scheme_name: one of its weight-only schemes.
        precisions: nodes whose weights are held by another float scheme, by the name of their first output. Where the
            readers of a weight differ, it is held as the one with the most bits says.
    """
    found = HeldWeights()
    for name, value in model.graph.initializers.items():
        if not is_constant(value) or value.dtype not in SCALE_TYPES or (rank(value) or 0) < 2:
            continue
        uses = list(_uses(value, tuple(range(rank(value) or 0))))
        known = [use.node for use in uses if isinstance(use, _Use)]
        names = [precisions.get(node.outputs[0].name or "", scheme_name) for node in known]
        if not any(_lists(target, node, name) for node, name in zip(known, names, strict=True)):
            continue
        planned = _planned(value, uses, target, max(names, key=lambda name: _bits(target.scheme(name))))
        if isinstance(planned, str):
            found.left[name] = planned
        else:
            found.blocks[name] = planned
    return found


def _planned(value: Value, uses: list[_Use | Node], target: Target, scheme_name: str) -> BlockEncoding | str:
    """Return how a weight is held, or why it is not."""
    scheme = target.scheme(scheme_name)
    if not scheme.is_weight_only:
        return f"a node that is computed in {scheme_name} reads it"
    strangers = [use for use in uses if not isinstance(use, _Use)]
    if strangers or value.is_graph_output():
        return f"{strangers[0].op_type} reads it too" if strangers else "it is a graph output"
    known = cast("list[_Use]", uses)
    for use in known:
        if not _lists(target, use.node, scheme_name):
            return f"{use.node.op_type}, which reads it too, does not take {scheme_name}"
        refused = target.accepts(use.node, target.computed_in(scheme_name)).reasons
        if refused:
            return refused[0]
    if any(is_op(use.node, "Gather") and _is_of_angles(use.node) for use in known):
        return "its rows are multiplied with data, as those of a table of angles are"
    axes = {use.features for use in known}
    if len(axes) > 1:
        return f"it is summed over along axes {' and '.join(map(str, sorted(axes)))}"
    return _encoding(value, known, scheme)


def _bits(scheme: Scheme) -> int:
    """Return how many bits a weight has; a float one more than any integer."""
    return int(scheme.weight.lstrip("uint")) if scheme.weight is not None and scheme.is_weight_only else FLOAT_BITS


def _encoding(value: Value, uses: list[_Use], scheme: Scheme) -> BlockEncoding | str:
    shape = static_shape(value) or ()
    features, channels = uses[0].features, uses[0].channels
    dtype = cast("HeldType", scheme.weight)
    if scheme.weight_axis == "channel" and channels is not None:
        encoding = BlockEncoding(dtype=dtype, axis=channels, symmetric=scheme.weight_symmetric)
    elif is_op(uses[0].node, "Conv"):
        return "a convolution has one scale for each channel"
    else:  # in a stack of matrices, one block spans the features of each channel
        block = shape[features] if scheme.weight_axis == "channel" else scheme.weight_block
        encoding = BlockEncoding(dtype=dtype, axis=features, block=block, symmetric=scheme.weight_symmetric)
    if scheme.weight_packed and (why := _unpackable(encoding, shape)):
        return why
    before, after = _bytes(value, encoding, shape)
    if after >= before:
        return f"it would take {after} bytes instead of {before}"
    return encoding


def _unpackable(encoding: BlockEncoding, shape: tuple[int, ...]) -> str:
    """Return why MatMulNBits could not have a weight; empty when it can."""
    if len(shape) != MATRIX:
        return f"it has rank {len(shape)}, and matrices alone are packed"
    size, block = shape[encoding.axis], encoding.block or 1
    return f"its {size} features are no whole number of blocks of {block}" if size % block else ""


def _bytes(value: Value, encoding: BlockEncoding, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many bytes the weight takes in float, and as integers with their scales."""
    elements, width = prod(shape), cast("DataType", value.dtype).itemsize
    size = shape[encoding.axis]
    scales = size if encoding.block is None else elements // size * -(-size // encoding.block)
    return int(elements * width), int(elements * (limits(encoding.dtype)[1].bit_length() > 4 or 0.5) + scales * width)


def _lists(target: Target, node: Node, scheme_name: str) -> bool:
    """Say whether the target lists the scheme for the node's op."""
    rule = target.rule(node.op_type, node.domain)
    return rule is not None and scheme_name in rule.schemes


def _uses(value: Value, axes: tuple[int, ...]) -> Iterator[_Use | Node]:
    """Yield how each node uses a weight, Transpose seen through; nodes that use it otherwise as they are.

    Args:
        value: the weight, or a transposition of it.
        axes: for each axis of `value`, the weight's own.
    """
    if value.is_graph_output():
        yield from (node for node in [value.producer()] if node is not None)
    for use in value.uses():
        node = use.node
        if is_op(node, "Transpose"):
            order = attribute_list(node, "perm", range(len(axes))[::-1])
            yield from _uses(node.outputs[0], tuple(axes[axis] for axis in order))
            continue
        places = _axes(node, use.idx, len(axes))
        if places is None:
            yield node
        else:
            features, channels = places
            yield _Use(node, axes[features], None if channels is None else axes[channels])


def _axes(node: Node, index: int, depth: int) -> tuple[int, int | None] | None:
    """Return the axes of features and of channels of the weight at `index`, or None where it is no weight there.

    A convolution has several axes of features, of which the first is returned.
    """
    if is_op(node, "MatMul"):
        features = depth - 2 if index == 1 else depth - 1
        return features, 2 * depth - 3 - features if depth == 2 else None
    if is_op(node, "Gemm") and index < 2:
        transposed = attribute(node, "transB" if index else "transA", 0)
        features = 0 if (index == 1) != bool(transposed) else 1
        return features, 1 - features
    if is_op(node, "Conv") and index == 1:
        return 1, channel_axis(node, 1)
    if is_op(node, "Gather") and index == 0 and depth == 2 and attribute(node, "axis", 0) % depth == 0:
        return 1, 0
    return None


def _is_of_angles(node: Node) -> bool:
    """Say whether all that becomes of a table's rows is to be multiplied with data, as sines and cosines are."""
    pending, ends = [node.outputs[0]], list["Node"]()
    multiplied = False
    while pending:
        value = pending.pop()
        for reader in users(value):
            if is_op(reader, *MOVERS):
                pending.extend(reader.outputs)
                continue
            ends.append(reader)
            others = [other for other in reader.inputs if other is not value]
            by_data = is_op(reader, "Mul") and bool(others) and not is_constant(others[0])
            multiplied = by_data or is_op(reader, "RotaryEmbedding", "Neg")
            if not multiplied:
                return False
    return multiplied
