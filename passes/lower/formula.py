"""What the lowerings share that write one op as a formula of others."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, input_at
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value


@dataclass(frozen=True)
class FormulaLowering(Lowering):
    """A lowering that replaces a node's first output by a formula of its inputs."""

    @abstractmethod
    def formula(self, node: Node, x: Value, build: Builder) -> Value | Declined | None:
        """Emit the formula and return its value, or say why not before anything is emitted.

        Args:
            node: the node to take apart.
            x: its first input.
            build: emits ahead of the node; its `type`, that of `x`, is known.
        """

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace `node` by its formula."""
        x = input_at(node, 0)
        build = Builder(edit, node)
        if x is None or build.type is None:
            return Declined("the type of its input is not known")
        if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
            return Declined("more than its first output is read")
        result = self.formula(node, x, build)
        if result is None or isinstance(result, Declined):
            return result
        edit.replace_node(node, result)
        return Changed(f"became {', '.join(build.emitted)}")
