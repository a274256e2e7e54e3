from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute_list, constant, input_at, only_user, producer, static_shape
from npuopt.passes.fuse.absorption import absorb
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target

CHANNELS_LAST = (0, 2, 3, 1)


@dataclass(frozen=True)
class FuseConvRowBias(NodePass):
    """A constant row added to what a Conv makes of rows goes into its bias.

    `Add(Reshape(Transpose<perm = [0, 2, 3, 1]>(Conv(x, w))), b) -> Reshape(Transpose(Conv(x, w, b)))`: what a linear
    layer becomes whose product a chip takes as a convolution of one tap.

    Left alone: a constant that is no row of the Conv's channels; a Reshape that takes channels apart; a value on the
    way that is read elsewhere or is a graph output; shapes that are not static.
    """

    name = "fuse-conv-row-bias"
    op_types = ("Add",)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the sum `node` into the Conv that made its rows."""
        for rows, bias in (node.inputs, node.inputs[::-1]):
            found = _conv_of_rows(rows, node)
            if found is None or rows is None:
                continue
            conv, transpose = found
            shift = _row(bias, rows, conv)
            if isinstance(shift, Declined):
                return shift
            result = absorb(conv, None, shift, edit, before=transpose)
            if isinstance(result, Declined):
                return result
            edit.replace(conv.outputs[0], result)
            edit.replace(node.outputs[0], rows)
            edit.erase_unread(node)
            edit.erase_unread(conv)
            return Changed("went into the bias of Conv")
        return None


def _conv_of_rows(rows: Value | None, reader: Node) -> tuple[Node, Node] | None:
    """Return the Conv and the Transpose behind it where they and a Reshape make `rows` for `reader` alone."""
    reshape = producer(rows, "Reshape")
    transpose = producer(input_at(reshape, 0), "Transpose") if reshape is not None else None
    conv = producer(input_at(transpose, 0), "Conv") if transpose is not None else None
    if reshape is None or transpose is None or conv is None:
        return None
    if tuple(attribute_list(transpose, "perm", ())) != CHANNELS_LAST:
        return None
    chain = (conv, transpose, reshape, reader)
    alone = all(only_user(made.outputs[0]) is user for made, user in pairwise(chain))
    return (conv, transpose) if alone and all(one.graph is reader.graph for one in chain) else None


def _row(bias: Value | None, rows: Value, conv: Node) -> np.ndarray | Declined:
    """Return a constant as one number for each channel, or say why it is not that."""
    shape, made, known = static_shape(rows), static_shape(conv.outputs[0]), constant(bias)
    if shape is None or made is None or not shape or shape[-1] != made[1]:
        return Declined("the Reshape behind it takes channels apart, or shapes are not static")
    if known is None or known.ndim > len(shape) or not (known.size == 1 or known.shape[-1] == known.size == made[1]):
        return Declined("what is added is no constant row")
    return np.broadcast_to(known.astype(np.float64).reshape(-1), (made[1],))
