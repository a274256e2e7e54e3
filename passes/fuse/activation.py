"""What the fusions share that raise a formula over one value to one op."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import Either, Number, Op, element_type, match, rank
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Node, Value
    from npuopt.graph.matcher import Pattern
    from npuopt.target import Target


def half(pattern: Pattern) -> Either:
    """Return both ways to halve a value."""
    return Either(Op("Mul", pattern, Number(0.5)), Op("Div", pattern, Number(2.0)))


@dataclass(frozen=True)
class ActivationFusion(NodePass):
    """A fusion of patterns over one value named x into one op of that value alone."""

    patterns: ClassVar[tuple[Op | Either, ...]]
    needs = frozenset({"shapes-known"})

    @abstractmethod
    def emit(self, found: Match, x: Value, edit: Editor) -> Value | Declined:
        """Emit the op ahead of the pattern's root, or say why not."""

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Replace the pattern that ends at `node`, if nothing inside it is seen from outside."""
        found = next(filter(None, (match(pattern, node) for pattern in self.patterns)), None)
        if found is None:
            return None
        x = found.values["x"]
        if why := found.exposed():
            return Declined(why)
        kind = element_type(x)
        if kind is None or not kind.is_floating_point():
            return Declined(f"it computes in {kind}")
        if rank(x) is None or rank(x) != rank(node.outputs[0]):
            return Declined(f"a constant raises the rank of {x.name!r}, or the rank is not known")
        result = self.emit(found, x, edit)
        if isinstance(result, Declined):
            return result
        edit.replace(node.outputs[0], result)
        edit.erase_unread(node)
        fused = result.producer()
        return Changed(f"{len(found.interior) + 1} nodes became {fused.op_type if fused else 'one'}")
