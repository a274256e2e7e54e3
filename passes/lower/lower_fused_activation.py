from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at
from npuopt.passes.lower.formula import FormulaLowering
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Builder, Node, Value

PARAMETERS = {
    "": (),
    "Clip": (),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
}
"""Activation -> the attributes that its parameters are, in their order; those of Clip are inputs."""


@dataclass(frozen=True)
class LowerFusedActivation(FormulaLowering):
    """ONNX Runtime's FusedConv and FusedGemm become Conv or Gemm and the activation.

    `FusedConv<activation = "Relu">(x, w, b, z) -> Relu(Conv(x, w, b) + z)`, `FusedGemm(a, b, c) -> Relu(Gemm(a, b, c))`

    Left alone: activations other than Clip, HardSigmoid, LeakyRelu, Relu, Sigmoid and Tanh.
    """

    name = "lower-fused-activation"
    op_types = ("com.microsoft::FusedConv", "com.microsoft::FusedGemm")
    produces = frozenset({"Add", "Conv", "Gemm", *PARAMETERS} - {""})

    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined:
        """Return the activated product."""
        activation = attribute(node, "activation", "")
        if activation not in PARAMETERS:
            return Declined(f"its activation {activation} is not known here")
        kept = {name: attr for name, attr in node.attributes.items() if not name.startswith("activation")}
        inputs = [input_at(node, index) for index in range(3)]
        result = build(node.op_type.removeprefix("Fused"), *inputs, **kept)
        if (summand := input_at(node, 3)) is not None:
            result = build("Add", result, summand)
        if not activation:
            return result
        given = _parameters(node)
        if activation == "Clip":
            return build("Clip", result, *given)
        return build(activation, result, **dict(zip(PARAMETERS[activation], given, strict=False)))


def _parameters(node: Node) -> Sequence[float]:
    """Return the activation's parameters, those of FusedGemm from its attributes of their own."""
    listed = node.attributes.get("activation_params")
    if listed is not None:
        return [float(item) for item in listed.as_floats()]
    names = [f"activation_{name}" for name in ("alpha", "beta")]
    return [attribute(node, name, 0.0) for name in names if name in node.attributes]
