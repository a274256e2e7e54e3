"""Gives every node a name of its own, by which records, compilers' accounts and messages speak of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph.queries import graphs_of

if TYPE_CHECKING:
    from collections.abc import Collection

    import onnx_ir as ir


def name_nodes(model: ir.Model) -> None:
    """Name the nodes that have no name after their type and first output, and number those that share one."""
    every = [node for graph in graphs_of(model) for node in graph]
    taken = {node.name for node in every}
    if len(taken) == len(every) and not taken & {None, ""}:
        return
    seen: set[str] = set()
    for node in every:
        if not node.name or node.name in seen:
            made = next((output.name for output in node.outputs if output.name), "")
            base = node.name or f"{node.op_type}_{made}"
            node.name = free_name(base, taken)
            taken.add(node.name)
        seen.add(node.name)


def free_name(base: str, taken: Collection[str | None]) -> str:
    """Return `base`, or the first with a number behind it that is not taken."""
    name, number = base, 0
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name
