"""What a pass is: a frozen record that is called with a model and a target and reports what it did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import Editor, label, nodes
from npuopt.graph.matcher import Pattern, may_occur
from npuopt.pipeline.report import Entry, Report
from npuopt.pipeline.survey import survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Model, Node
    from npuopt.pipeline.survey import Survey
    from npuopt.target import Target

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Changed:
    """The pattern was there and was rewritten; `text` says into what."""

    text: str


@dataclass(frozen=True)
class Declined:
    """The pattern was there and was left alone; `why` is one sentence with the value at fault."""

    why: str


Outcome = Changed | Declined | None
"""None: the pattern is not at this node, which is worth no line in a report."""


@dataclass(frozen=True)
class Pass(ABC):
    """A graph transform. Its fields are its options; its docstring is its catalogue entry.

    The docstring's first line is the catalogue sentence; then `before -> after`; then the cases left alone.

    Attributes:
        name: kebab-case, and the same words as the file's name.
        needs: facts that must hold before, such as `shapes-known`, `shapes-static`, `constants-folded`.
        gives: facts that hold afterwards.
        breaks: facts that no longer hold once this pass changed something.
        keeps_interface: graph inputs and outputs stay the same in name, type and order; False only for a pass
            whose purpose is to change them (freezing dims, dropping inputs that became empty).
        op_types: the nodes that it looks at; where there are none it is not called. Empty: it looks at the whole.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = NOTHING
    gives: ClassVar[frozenset[str]] = NOTHING
    breaks: ClassVar[frozenset[str]] = NOTHING
    keeps_interface: ClassVar[bool] = True
    op_types: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Transform `model` in place and say what was done."""


@dataclass(frozen=True)
class NodePass(Pass):
    """A pass that looks at one node at a time, at those of `op_types` only.

    Rewrites that open up others (a chain that shrinks link by link) are run again until nothing changes.

    Attributes:
        repeat: whether they are.
        patterns: one of them is part of whatever the pass says something about, so that it need not visit any node of
            a graph that lacks an op of each of them. Empty: nothing but `op_types` is known.
    """

    repeat: ClassVar[bool] = False
    patterns: ClassVar[tuple[Pattern, ...]] = ()

    @abstractmethod
    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Rewrite at `node`, or say why not, or return None where the pattern is not there."""

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Visit every node of `op_types` in graph order."""
        return self.visit(survey(model), model, target)

    def visit(self, found: Survey, model: Model, target: Target | None) -> Report:
        """Do what calling the pass does, with what a survey of the model found."""
        report = Report(self.name)
        if self.patterns and not any(may_occur(pattern, found.op_types) for pattern in self.patterns):
            return report
        edit = Editor(model)
        candidates = found.of_types(self.op_types)
        while True:
            declined: list[Entry] = []
            changed = 0
            for node in candidates:
                if node.graph is None:
                    continue  # an earlier rewrite of this sweep removed it
                entry_label, op_type = node.name or label(node), node.op_type
                outcome = self.rewrite(node, edit, target)
                if outcome is None:
                    continue
                if isinstance(outcome, Changed):
                    changed += 1
                    report.changed.append(Entry(entry_label, op_type, outcome.text))
                else:
                    declined.append(Entry(entry_label, op_type, outcome.why))
            if not (self.repeat and changed):
                report.declined = declined
                return report
            candidates = nodes(model, *self.op_types)


@dataclass(frozen=True)
class Lowering(NodePass):
    """A node pass that takes one op apart into ops that more targets have.

    It knows no target's bounds. Where a target takes an op up to some size, the lowering goes one step (half a kernel)
    and the driver asks again; where one of several results may be taken (uint8 or int32), `forms` lists them.

    Called with a target, it lowers only the nodes that the target refuses; called without, all of them.
    The legalization driver applies it to single nodes and checks the results against the descriptor.

    Attributes:
        produces: the op types that the rewritten form may contain.
    """

    produces: ClassVar[frozenset[str]]

    @abstractmethod
    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Take `node` apart, or say why that cannot be done, or return None for a form it does not cover."""

    def forms(self) -> Sequence[Lowering]:
        """Return what the legalization driver may try: this lowering, and itself with other options."""
        return (self,)

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Lower `node` unless the target takes it as it is."""
        if target is not None and target.accepts(node):
            return None
        return self.lower(node, edit)
