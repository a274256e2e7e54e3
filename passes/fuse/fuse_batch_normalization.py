from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, input_at, rank
from npuopt.passes.fuse.absorption import absorb
from npuopt.passes.fuse.affine import LINEAR, linear_before
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseBatchNormalization(NodePass):
    """A BatchNormalization behind a Conv, ConvTranspose, Gemm or MatMul goes into its weights and bias.

    `BatchNormalization<epsilon>(Conv(x, w, b), scale, bias, mean, variance) -> Conv(x, w * s, (b - mean) * s + bias)`
    with `s = scale / sqrt(variance + epsilon)`; a product of two matrices becomes a Gemm

    Left alone: training mode; weights, bias or parameters given at run time; an output of the linear op that is read
    elsewhere or is a graph output; weights that would overflow their type. A BatchNormalization behind anything else
    is for lower-batch-normalization.
    """

    name = "fuse-batch-normalization"
    op_types = ("BatchNormalization",)

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse `node` into the linear op before it."""
        linear = linear_before(input_at(node, 0), node, (*LINEAR, "MatMul"))
        if linear is None or isinstance(linear, Declined):
            return linear
        if linear.op_type == "MatMul" and any(rank(value) != 2 for value in linear.inputs):
            return Declined("the product before it is not of two matrices")
        if attribute(node, "training_mode", 0):
            return Declined("it is in training mode")
        parameters = [constant(value) for value in node.inputs[1:5]]
        known = [parameter.astype(np.float64) for parameter in parameters if parameter is not None]
        if len(known) != 4:
            return Declined("its parameters are not all constant")
        gamma, beta, mean, variance = known
        scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        result = absorb(linear, scale, beta - mean * scale, edit, before=node)
        if isinstance(result, Declined):
            return result
        edit.replace(node.outputs[0], result)
        edit.erase_unread(node)
        return Changed(f"went into the weights of {linear.op_type}")
