"""Which ops of a model nobody here knows: neither ONNX nor ONNX Runtime nor the model's own functions."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import onnx.defs

from npuopt.graph.queries import STANDARD_DOMAINS, label

if TYPE_CHECKING:
    import onnx_ir as ir


class UnknownOp(NamedTuple):
    """An op that nobody here knows, and the first node of it."""

    domain: str
    op_type: str
    node: str


def unknown_ops(model: ir.Model) -> list[UnknownOp]:
    """List the ops of unknown domains, and the unknown ops of known domains, each once with its first node."""
    found: dict[tuple[str, str], UnknownOp] = {}
    own = {(function.domain, function.name) for function in model.functions.values()}
    for holder in (model.graph, *model.functions.values()):
        for node in holder.all_nodes():
            domain = "" if node.domain in STANDARD_DOMAINS else node.domain
            key = (domain, node.op_type)
            if key not in found and key not in own and key not in _known():
                found[key] = UnknownOp(domain, node.op_type, label(node))
    return list(found.values())


@cache
def _known() -> frozenset[tuple[str, str]]:
    runtime = cast("Any", import_module("onnxruntime.capi.onnxruntime_pybind11_state"))  # it has no type stubs
    schemas: list[onnx.defs.OpSchema] = [*onnx.defs.get_all_schemas(), *runtime.get_all_operator_schema()]
    return frozenset((schema.domain, schema.name) for schema in schemas)
