from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, attribute, input_at
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node

EPSILON = 1e-12
"""What ONNX Runtime adds to the variance where a node does not say."""


@dataclass(frozen=True)
class LowerSkipNormalization(Lowering):
    """ONNX Runtime's normalization of a sum becomes Add and LayerNormalization or RMSNormalization.

    `SkipLayerNormalization(x, skip, gamma, beta, bias) -> y, , , sum` with `sum = x + skip + bias` and
    `y = LayerNormalization(sum, gamma, beta)`; SkipSimplifiedLayerNormalization has no beta and becomes
    RMSNormalization.

    Left alone: a node whose mean or variance is read; inputs of unknown type.
    """

    name = "lower-skip-normalization"
    op_types = ("com.microsoft::SkipLayerNormalization", "com.microsoft::SkipSimplifiedLayerNormalization")
    produces = frozenset({"Add", "LayerNormalization", "RMSNormalization"})

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace the normalized sum, and the sum where it is read."""
        build, simplified = Builder(edit, node), node.op_type == "SkipSimplifiedLayerNormalization"
        if build.type is None:
            return Declined("the type of its input is not known")
        if any(output.uses() or output.is_graph_output() for output in node.outputs[1:3]):
            return Declined("its mean or variance is read")
        gamma, beta = input_at(node, 2), None if simplified else input_at(node, 3)
        bias = input_at(node, 3 if simplified else 4)
        total = build("Add", input_at(node, 0), input_at(node, 1))
        if bias is not None:
            total = build("Add", total, bias)
        kind = "RMSNormalization" if simplified else "LayerNormalization"
        result = build(kind, total, gamma, beta, axis=-1, epsilon=attribute(node, "epsilon", EPSILON))
        for output, value in zip((node.outputs[0], *node.outputs[3:]), (result, total), strict=False):
            edit.replace(output, value)
        edit.erase(node)
        return Changed(f"became {', '.join(build.emitted)}")
