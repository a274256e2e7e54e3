"""The simplest targets there can be, for passes that ask one."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from npuopt.target import Verdict

if TYPE_CHECKING:
    from npuopt.graph import Node
    from npuopt.target import Target


class _Takes:
    """A target that answers by op type."""

    def __init__(self, *op_types: str) -> None:
        self.op_types = op_types

    def accepts(self, node: Node, scheme: str | None = None) -> Verdict:
        return Verdict() if node.op_type in self.op_types else Verdict((f"{node.op_type} is not taken",))


def takes(*op_types: str) -> Target:
    """Return a target that takes nodes of these types and refuses all others."""
    return cast("Target", _Takes(*op_types))
