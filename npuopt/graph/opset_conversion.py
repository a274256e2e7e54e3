"""Brings models to the canonical opset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx.defs

from npuopt.errors import InputError
from npuopt.graph.editor import Editor
from npuopt.graph.opset_adapters import Conversion
from npuopt.graph.opset_adapters_inputs import INPUTS_ADAPTERS
from npuopt.graph.opset_adapters_meaning import MEANING_ADAPTERS
from npuopt.graph.opset_adapters_resize import RESIZE_ADAPTERS
from npuopt.graph.opset_newer import relabel_newer
from npuopt.graph.queries import STANDARD_DOMAINS, nodes_in

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    import onnx_ir as ir

CANONICAL_OPSET = 24
"""The version of the standard domain that every loaded model is in."""

CANONICAL_IR_VERSION = 12
"""The IR version that came with it."""

OLDEST_OPSET = 7

ADAPTERS = {**INPUTS_ADAPTERS, **MEANING_ADAPTERS, **RESIZE_ADAPTERS}

_ADAPTED_OPS = frozenset(op_type for op_type, _ in ADAPTERS)


def check_opset(model: ir.Model, where: str = "") -> None:
    """Check that the model's opset is one of those that can be converted.

    Raises:
        InputError: naming it.
    """
    for holder in (model.graph, *model.functions.values()):
        version = _version(holder.opset_imports)
        if version < OLDEST_OPSET:
            raise InputError(
                f"opset {version} is older than {OLDEST_OPSET}", where=where, hint="export the model at a newer opset"
            )
        newest = onnx.defs.onnx_opset_version()
        if version > newest:
            raise InputError(
                f"opset {version} is newer than {newest}, the newest that is known here",
                where=where,
                hint=f"export the model at opset {CANONICAL_OPSET}",
            )


def convert_opset(model: ir.Model, where: str = "") -> None:
    """Convert the model to the canonical opset, in place: its graph, subgraphs and functions.

    Models of newer opsets are relabelled when they use nothing that is new.

    Args:
        model: a valid one, of an opset that `check_opset` passes, its types and shapes inferred.
        where: the file, for errors.

    Raises:
        InputError: naming the node that cannot be converted.
    """
    holders = [model.graph, *model.functions.values()]
    versions = [_version(holder.opset_imports) for holder in holders]
    if all(version == CANONICAL_OPSET for version in versions):
        return
    for holder in holders:
        _set_version(holder.opset_imports)
    edit = Editor(model)
    for holder, version in zip(holders, versions, strict=True):
        nodes = nodes_in(holder)
        if version > CANONICAL_OPSET:
            relabel_newer(nodes, version, CANONICAL_OPSET, where)
        conversion = Conversion(edit, version, holds_initializers=holder is model.graph, where=where)
        for node in nodes:
            if node.op_type in _ADAPTED_OPS and node.domain in STANDARD_DOMAINS:
                _convert_node(conversion, node)


def _convert_node(conversion: Conversion, node: ir.Node) -> None:
    for version in range(conversion.source + 1, CANONICAL_OPSET + 1):
        adapt = ADAPTERS.get((node.op_type, version))
        if adapt is not None:
            adapt(conversion, node)
        if node.graph is None:
            return  # replaced by nodes in canonical form


def _version(imports: Mapping[str, int]) -> int:
    """Return the imported version of the standard domain; where nothing of it is imported, nothing needs change."""
    return imports.get("", imports.get("ai.onnx", CANONICAL_OPSET))


def _set_version(imports: MutableMapping[str, int]) -> None:
    imports.pop("ai.onnx", None)
    imports[""] = CANONICAL_OPSET
