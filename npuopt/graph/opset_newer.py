"""Models of opsets past the canonical one: accepted as far as they use nothing that is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx.defs
import onnx.helper
import onnx_ir as ir

from npuopt.errors import InputError
from npuopt.graph.queries import STANDARD_DOMAINS, label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def relabel_newer(nodes: Iterable[ir.Node], version: int, canonical: int, where: str) -> None:
    """Make the nodes fit the canonical opset's schemas: new attributes at their default are dropped.

    Args:
        nodes: of a model whose types are known as far as can be.
        version: the opset that they come from.
        canonical: the opset that they go to.
        where: the file, for errors.

    Raises:
        InputError: naming the first node that uses what the canonical opset does not have.
    """
    for node in nodes:
        why = _what_is_new(node, version, canonical) if node.domain in STANDARD_DOMAINS else ""
        if why:
            raise InputError(
                f"node {label(node)!r} ({node.op_type}) does not fit opset {canonical}: it {why}",
                where=where,
                hint=f"export the model at opset {canonical}",
            )


def _what_is_new(node: ir.Node, version: int, canonical: int) -> str:
    newer = onnx.defs.get_schema(node.op_type, version, "")
    if newer.since_version <= canonical:
        return ""
    if not onnx.defs.has(node.op_type, canonical, ""):
        return "is of an op that does not exist there"
    schema = onnx.defs.get_schema(node.op_type, canonical, "")
    for name in [name for name in node.attributes if name not in schema.attributes]:
        if node.attributes[name].value == _default(newer, name):
            del node.attributes[name]
        else:
            return f"uses the attribute {name!r}, which that opset does not have"
    variadic = schema.inputs and schema.inputs[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic
    if len(node.inputs) > len(schema.inputs) and not variadic:
        return "has more inputs than that opset allows"
    return _type_fault(node.inputs, schema.inputs, "reads") or _type_fault(node.outputs, schema.outputs, "makes")


def _default(schema: onnx.defs.OpSchema, name: str) -> object:
    """Return an attribute's default, None where it has none."""
    default = schema.attributes[name].default_value
    value: object = onnx.helper.get_attribute_value(default) if default.name else None
    return value.decode() if isinstance(value, bytes) else value


def _type_fault(
    values: Sequence[ir.Value | None], parameters: Sequence[onnx.defs.OpSchema.FormalParameter], verb: str
) -> str:
    for index, value in enumerate(values):
        allowed = parameters[min(index, len(parameters) - 1)].types
        if value is not None and isinstance(value.type, ir.TensorType):
            found = f"tensor({value.type.dtype.name.lower()})"
            if found not in allowed:
                return f"{verb} {value.name!r} of type {found}, which that opset does not allow"
    return ""
