"""Orders in which a compiler may run the nodes of a region."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import is_op

if TYPE_CHECKING:
    from npuopt.graph import Node
    from npuopt.partition.plan import Part


def depth_first(part: Part) -> list[Node]:
    """List the nodes of a part, each behind all that it needs, a branch to its end before the next one begins.

    Of a node's branches that of its last operand comes first, as a compiler finds them that walks up from the outputs
    and puts what it has to visit on a stack. Those of a Concat come in order: it is as many copies as it has operands.
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
            first_wanted = needs if is_op(node, "Concat") else reversed(needs)
            missing = next((need for need in first_wanted if need in inside and need not in listed), None)
            if missing is None:
                listed.setdefault(waiting.pop())
            else:
                waiting.append(missing)
    return list(listed)
