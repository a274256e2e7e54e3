"""Which nodes can compute in a float type of 16 bits, by ONNX's schemas, and through which inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import onnx

from npuopt.graph import DataType, attribute, element_type, is_constant, is_op, subgraphs_of
from npuopt.graph.queries import STANDARD_DOMAINS, opset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.half_precision.formats import HalfFormat

TYPED_BY_ATTRIBUTE = frozenset(
    {
        *("Bernoulli", "ConstantOfShape", "EyeLike", "Multinomial", "RandomNormal", "RandomNormalLike"),
        *("RandomUniform", "RandomUniformLike", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    }
)
"""Ops whose results have a type that no input gives them, or that are there for their type's sake."""

COUNTED = frozenset({DataType.INT64, DataType.INT32, DataType.INT16, DataType.UINT16, DataType.UINT32, DataType.UINT64})
"""Integers that may be more than bfloat16 can count: 256."""


BOUNDED = ("Cos", "Sin", "Softmax", "LayerNormalization", "RMSNormalization")
"""Ops whose results no longer count, whatever they are made from."""


@dataclass(frozen=True)
class Places:
    """The float32 inputs and outputs of a node that would have the type of 16 bits."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def half_places(node: Node, form: HalfFormat, version: int) -> Places | None:
    """Return what of `node` would have the type, or None where it computes in float32 in any case.

    Args:
        node: any node.
        form: the type.
        version: the model's opset.
    """
    if node.domain not in STANDARD_DOMAINS or node.op_type in TYPED_BY_ATTRIBUTE or any(subgraphs_of(node)):
        return None
    if is_op(node, "Cast"):
        return _places_of_cast(node)
    ins, outs = _variables(node.op_type, version, form.name)
    inputs = [index for index, value in enumerate(node.inputs) if _is_float32(value) and _at(ins, index)]
    given = {_at(ins, index) for index in inputs}
    outputs = [index for index, value in enumerate(node.outputs) if _is_float32(value) and _at(outs, index) in given]
    return Places(tuple(inputs), tuple(outputs)) if inputs else None


def counting_nodes(model: Model) -> set[Node]:
    """Return the nodes that compute with integers held as floats: positions, lengths, indices on their way.

    Half the bits cannot count them: float16 ends at 2048, bfloat16 at 256.
    """
    counted: set[Value] = set()
    found: set[Node] = set()
    for node in model.graph:
        floats = [value for value in node.inputs if _is_float32(value) and not is_constant(value)]
        is_start = is_op(node, "Cast") and element_type(node.inputs[0]) in COUNTED and _is_float32(node.outputs[0])
        if is_start or (floats and all(value in counted for value in floats)):
            found.add(node)
            if not is_op(node, *BOUNDED):
                counted.update(value for value in node.outputs if _is_float32(value))
    return found


def wanted_nodes(model: Model, form: HalfFormat) -> dict[Node, Places]:
    """Return the nodes of the main graph that can compute in the type."""
    version = opset(model)
    found = {node: half_places(node, form, version) for node in model.graph}
    return {node: places for node, places in found.items() if places is not None}


def _places_of_cast(node: Node) -> Places | None:
    """A Cast from integers makes the type, one to integers reads it; one between float types is meant."""
    source = element_type(node.inputs[0])
    if attribute(node, "to", 0) == DataType.FLOAT and source is not None and not source.is_floating_point():
        return Places((), (0,))
    to_float = DataType(attribute(node, "to", 0)).is_floating_point()
    return Places((0,), ()) if source == DataType.FLOAT and not to_float else None


def _is_float32(value: Value | None) -> bool:
    return element_type(value) == DataType.FLOAT


def _at(variables: Sequence[str], index: int) -> str:
    """Return the variable at a place; the last one goes on where the op takes any number."""
    if index < len(variables):
        return variables[index]
    return variables[-1] if variables else ""


@cache
def _variables(op_type: str, version: int, half: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the type variables of an op's inputs and outputs, empty where the type is not among those allowed."""
    if not onnx.defs.has(op_type, version, ""):
        return (), ()
    schema = onnx.defs.get_schema(op_type, version, "")
    free = {item.type_param_str for item in schema.type_constraints if f"tensor({half})" in item.allowed_type_strs}

    def known(parameters: Sequence[onnx.defs.OpSchema.FormalParameter]) -> tuple[str, ...]:
        return tuple(one.type_str if one.type_str in free else "" for one in parameters)

    return known(schema.inputs), known(schema.outputs)
