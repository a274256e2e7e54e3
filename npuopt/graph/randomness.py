"""Which nodes may give another result each time they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph.queries import constant, input_at, is_op, subgraphs_of

if TYPE_CHECKING:
    import onnx_ir as ir

RANDOM_OPS = (
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("Multinomial", "Bernoulli"),
)


def is_random(node: ir.Node) -> bool:
    """Say whether two runs of the node may differ: random ops, Dropout in training, subgraphs that hold either."""
    if is_op(node, *RANDOM_OPS):
        return True
    if is_op(node, "Dropout"):
        training = input_at(node, 2)
        mode = constant(training)
        return training is not None and (mode is None or bool(mode.any()))
    return any(is_random(inner) for graph in subgraphs_of(node) for inner in graph.all_nodes())
