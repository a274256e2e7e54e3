"""Spells ops as the toolkit reads them: those newer than its opset in older ones, in patterns that it recognises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx

EPSILON = 1e-5
"""Of normalizations, where the node says none."""


def spell(model: onnx.ModelProto) -> None:
    """Write Gelu, RMSNormalization and Swish as the toolkit expects them: it makes exGelu, exNorm and exSwish of them.

    The last op of each has the node's name and output, so that the table of layers can be read with the old names.
    LayerNormalization gets its epsilon written out, without which the toolkit throws a KeyError.
    """
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type == "LayerNormalization" and not any(item.name == "epsilon" for item in node.attribute):
            node.attribute.append(helper.make_attribute("epsilon", EPSILON))
        write = FORMS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if write is None:
            nodes.append(node)
            continue
        draft = _Draft(node, model.graph)
        write(draft, node)
        nodes += draft.nodes
    del model.graph.node[:]
    model.graph.node.extend(nodes)


class _Draft:
    """The ops that one node becomes; the last one gets its name and output."""

    def __init__(self, node: onnx.NodeProto, graph: onnx.GraphProto) -> None:
        self.node = node
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []

    def constant(self, value: float | Sequence[int]) -> str:
        """Hold a number, or a list of axes."""
        name = f"{self.node.output[0]}/{len(self.graph.initializer)}"
        array = np.array(value, np.float32 if isinstance(value, float) else np.int64)
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def add(self, op_type: str, *inputs: str) -> str:
        """Add an op, and return what it makes."""
        name = f"{self.node.name}/{op_type}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name))
        return name

    def last(self, op_type: str, *inputs: str) -> None:
        """Add the op that makes the node's output."""
        self.nodes.append(helper.make_node(op_type, inputs, [self.node.output[0]], self.node.name))


def _gelu(draft: _Draft, node: onnx.NodeProto) -> None:
    x = node.input[0]
    if any(item.name == "approximate" and item.s == b"tanh" for item in node.attribute):
        cubed = draft.add("Mul", draft.add("Pow", x, draft.constant(3.0)), draft.constant(0.044715))
        inner = draft.add("Mul", draft.add("Add", x, cubed), draft.constant((2 / np.pi) ** 0.5))
        twice = draft.add("Mul", x, draft.add("Add", draft.add("Tanh", inner), draft.constant(1.0)))
        draft.last("Mul", twice, draft.constant(0.5))
        return
    erf = draft.add("Erf", draft.add("Div", x, draft.constant(2**0.5)))
    twice = draft.add("Mul", x, draft.add("Add", erf, draft.constant(1.0)))
    draft.last("Mul", twice, draft.constant(0.5))


def _rms_normalization(draft: _Draft, node: onnx.NodeProto) -> None:
    x, scale = node.input
    epsilon = next((item.f for item in node.attribute if item.name == "epsilon"), EPSILON)
    power = draft.add("Pow", x, draft.constant(2.0))
    mean = draft.add("ReduceMean", power, draft.constant([-1]))
    root = draft.add("Sqrt", draft.add("Add", mean, draft.constant(float(epsilon))))
    draft.last("Mul", draft.add("Div", x, root), scale)


def _swish(draft: _Draft, node: onnx.NodeProto) -> None:
    draft.last("Mul", node.input[0], draft.add("Sigmoid", node.input[0]))


FORMS: dict[str, Callable[[_Draft, onnx.NodeProto], None]] = {
    "Gelu": _gelu,
    "RMSNormalization": _rms_normalization,
    "Swish": _swish,
}
"""The root mean square over the last axis, and Swish of 1: a descriptor takes no others."""
