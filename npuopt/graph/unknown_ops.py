"""Which ops of a model nobody here knows: neither ONNX nor ONNX Runtime nor the model's own functions."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import onnx.defs

from npuopt.graph.queries import STANDARD_DOMAINS, label, nodes_in

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
        for node in nodes_in(holder):
            domain = "" if node.domain in STANDARD_DOMAINS else node.domain
            key = (domain, node.op_type)
            if key not in found and key not in own and not _is_known(domain, node.op_type):
                found[key] = UnknownOp(domain, node.op_type, label(node))
    return list(found.values())


@cache
def _is_known(domain: str, op_type: str) -> bool:
    return onnx.defs.has(op_type, domain) or (domain, op_type) in _runtime_ops()


@cache
def _runtime_ops() -> frozenset[tuple[str, str]]:
    """Return the ops of ONNX Runtime, whose import is worth it only where ONNX does not know an op."""
    runtime = cast("Any", import_module("onnxruntime.capi.onnxruntime_pybind11_state"))  # it has no type stubs
    schemas: list[onnx.defs.OpSchema] = runtime.get_all_operator_schema()
    return frozenset((schema.domain, schema.name) for schema in schemas)
