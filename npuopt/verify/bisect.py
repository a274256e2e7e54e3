"""Finds the pass, and in it the rewrite or the node, that changed a model's numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npuopt.graph import Session, Value, infer_shapes, label
from npuopt.pipeline import Changed, NodePass
from npuopt.verify.each import differences

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from npuopt.graph import Editor, Model, Node
    from npuopt.pipeline import Outcome, Pass, Report
    from npuopt.target import Target

Feeds = list[dict[str, "np.ndarray"]]


@dataclass(frozen=True)
class Suspect:
    """A pass that changed the numbers, the model as it got it, and the model as it left it."""

    step: Pass
    before: Model
    after: Model
    output: str
    difference: float


@dataclass(frozen=True)
class Culprit:
    """A node at fault: its name, its op type and what was done to it."""

    node: str
    op_type: str
    text: str


class CulpritFoundError(Exception):
    """Ends a run of passes: `suspect` is the first one that changed the numbers."""

    def __init__(self, suspect: Suspect) -> None:
        super().__init__(suspect.step.name)
        self.suspect = suspect


@dataclass
class Watch:
    """An observer that runs the model after each pass that changed it and stops at the first difference.

    Attributes:
        feeds: inputs to run with.
        tolerance: largest difference relative to the output's largest value; by type where None.
        compared: how many passes were compared.
    """

    feeds: Feeds
    tolerance: float | None = None
    compared: int = 0
    _model: Model | None = field(default=None, repr=False)
    _outputs: Feeds = field(default_factory=list[dict[str, "np.ndarray"]], repr=False)

    def before(self, step: Pass, model: Model) -> None:
        """Run the graph as it comes in, once, and keep a copy (which shares the weights)."""
        del step
        if self._model is None:
            self._keep(model, _run(model, self.feeds))

    def after(self, step: Pass, model: Model, report: Report) -> None:
        """Run the graph as it is now and compare.

        Raises:
            CulpritFoundError: at the first pass after which an output differs.
        """
        if not report.changed or self._model is None:
            return
        self.compared += 1
        outputs = _run(model, self.feeds)
        for output, difference, allowed in differences(self._outputs, outputs, self.tolerance):
            if not difference <= allowed:
                raise CulpritFoundError(Suspect(step, self._model, model.clone(), output, difference))
        self._keep(model, outputs)

    def _keep(self, model: Model, outputs: Feeds) -> None:
        self._model, self._outputs = model.clone(), outputs


def find_node(suspect: Suspect, target: Target | None, feeds: Feeds, tolerance: float | None = None) -> Culprit | None:
    """Find what in the suspect's work changed the numbers.

    A pass that looks at single nodes is run again with fewer and fewer rewrites allowed, by halves, until it is clear
    which one did it. Any other pass is asked of by its result: the first tensor, in the order of the graph, that both
    models have and that differs. None where every such tensor is the same.
    """
    if isinstance(suspect.step, NodePass):
        return _find_rewrite(suspect.step, suspect.before, target, feeds, tolerance)
    return _find_tensor(suspect.before, suspect.after, feeds, tolerance)


def _find_rewrite(
    step: NodePass, before: Model, target: Target | None, feeds: Feeds, tolerance: float | None
) -> Culprit | None:
    reference = _run(before, feeds)

    def rewritten(count: int) -> tuple[Report, bool]:
        model = before.clone()
        report = _limited(step, count)(model, target)
        found = differences(reference, _run(model, feeds), tolerance)
        return report, any(not difference <= allowed for _, difference, allowed in found)

    harmless, harmful = 0, len(step(before.clone(), target).changed)
    while harmful - harmless > 1:
        middle = (harmless + harmful) // 2
        harmless, harmful = (harmless, middle) if rewritten(middle)[1] else (middle, harmful)
    report, differs = rewritten(harmful)
    if not differs or not report.changed:
        return None
    entry = report.changed[-1]
    return Culprit(entry.node, entry.op_type, entry.text)


def _limited(step: NodePass, count: int) -> NodePass:
    """Return the pass, except that it leaves everything alone once it has made `count` rewrites."""
    left = count

    def rewrite(self: NodePass, node: Node, edit: Editor, target: Target | None) -> Outcome:
        nonlocal left
        if left == 0:
            return None
        outcome = type(step).rewrite(self, node, edit, target)
        left -= isinstance(outcome, Changed)
        return outcome

    limited = object.__new__(type(step.name, (type(step),), {"rewrite": rewrite}))
    limited.__dict__.update(step.__dict__)
    return limited


def _find_tensor(before: Model, after: Model, feeds: Feeds, tolerance: float | None) -> Culprit | None:
    """Run both models with every common tensor of the main graph as an output."""
    known = {value.name for node in before.graph for value in node.outputs}
    common = [value.name or "" for node in after.graph for value in node.outputs if value.name in known]
    reference, got = (_run(_exposing(model, common), feeds) for model in (before, after))
    found = {name for name, difference, allowed in differences(reference, got, tolerance) if not difference <= allowed}
    for node in after.graph:
        for value in node.outputs:
            if value.name in found:
                return Culprit(label(node), node.op_type, f"tensor {value.name!r} is the first that differs")
    return None


def _exposing(model: Model, names: Sequence[str]) -> Model:
    """Return a copy whose graph outputs are also these tensors, those of known type."""
    copy = model.clone()
    infer_shapes(copy)
    made: dict[str | None, Value] = {value.name: value for node in copy.graph for value in node.outputs}
    for name in names:
        if not made[name].is_graph_output() and made[name].type is not None:
            copy.graph.outputs.append(made[name])
    return copy


def _run(model: Model, feeds: Feeds) -> Feeds:
    session = Session(model)
    return [session.run(feed) for feed in feeds]
