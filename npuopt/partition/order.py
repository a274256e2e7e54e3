"""Orders in which a compiler may run the nodes of a region."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from npuopt.graph import Node
    from npuopt.partition.plan import Part


def depth_first(part: Part) -> list[Node]:
    """List the nodes of a part, each behind all that it needs, a branch to its end before the next one begins.

    Branches come in the order of outputs and of operands, as a compiler finds them that walks up from the outputs.
    Nodes that no output needs come last.
    """
    inside = set(part.nodes)
    listed: dict[Node, None] = {}
    makers = [value.producer() for value in part.output_values]
    for start in (*makers, *part.nodes):
        waiting = [start] if start in inside else []
        while waiting:
            node = waiting[-1]
            needs = [value.producer() for value in node.inputs if value is not None]
            missing = next((need for need in needs if need in inside and need not in listed), None)
            if missing is None:
                listed.setdefault(waiting.pop())
            else:
                waiting.append(missing)
    return list(listed)
