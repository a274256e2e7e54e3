"""Runs passes one after the other and believes none of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from npuopt.errors import InternalError, UsageError
from npuopt.graph import graphs_of, infer_shapes
from npuopt.graph.loading import take_inferred
from npuopt.pipeline.checks import checker_fault, interface, keeps_interface
from npuopt.pipeline.contract import NodePass
from npuopt.pipeline.report import Report
from npuopt.pipeline.survey import Survey, survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Model
    from npuopt.pipeline.contract import Pass
    from npuopt.target import Target

Verify = Literal["each", "final", "off"]
SHAPES_KNOWN = "shapes-known"
SHAPES_STATIC = "shapes-static"


class Observer(Protocol):
    """Is told of every pass: dumps, numeric checks and progress are observers."""

    def before(self, step: Pass, model: Model) -> None:
        """Hear of a pass about to run."""
        ...

    def after(self, step: Pass, model: Model, report: Report) -> None:
        """Hear of a pass that ran and left a valid model."""
        ...


@dataclass
class Runner:
    """Runs passes on one model and checks it after each of them.

    Attributes:
        target: what the passes may ask.
        verify: `off` skips the ONNX checker after each pass; structure is always checked.
        observers: told before and after each pass, in order.
        facts: what is known to hold of the model.
        reports: one for each pass run so far.
    """

    target: Target | None = None
    verify: Verify = "final"
    observers: Sequence[Observer] = ()
    facts: set[str] = field(default_factory=set[str])
    reports: list[Report] = field(default_factory=list[Report])
    _survey: Survey = field(default_factory=Survey, init=False, repr=False)
    _changes: int = field(default=0, init=False, repr=False)
    _quiet: dict[str, int] = field(default_factory=dict[str, int], init=False, repr=False)
    """Pass -> how many changes there had been when it last found nothing to do."""

    def run(self, model: Model, steps: Sequence[Pass]) -> list[Report]:
        """Run `steps` in order on `model`, in place, and return their reports.

        Raises:
            UsageError: when a pass needs what no earlier pass gave.
            InternalError: when a pass leaves an invalid model behind.
        """
        self._begin(model)
        return [self._run_one(model, step) for step in steps]

    def run_until_stable(self, model: Model, steps: Sequence[Pass], *, limit: int = 8) -> list[Report]:
        """Repeat `steps` until a round changes nothing, at most `limit` rounds.

        A pass that found nothing to do is left out until another one has changed something.
        """
        self._begin(model)
        reports: list[Report] = []
        for _ in range(limit):
            before = self._changes
            reports += [self._run_one(model, step) for step in steps if self._quiet.get(repr(step)) != self._changes]
            if self._changes == before:
                break
        return reports

    def _begin(self, model: Model) -> None:
        known, self._survey = self._survey, survey(model)
        self._changes += known.wiring != self._survey.wiring
        if take_inferred(model):
            self.facts.add(SHAPES_KNOWN)

    def _run_one(self, model: Model, step: Pass) -> Report:
        self._provide(model, step)
        for observer in self.observers:
            observer.before(step, model)
        idle = bool(step.op_types) and self._survey.op_types.isdisjoint(step.op_types)
        before = None if idle else interface(model)
        nodes_before = self._survey.nodes
        started = time.perf_counter()
        report = Report(step.name) if idle else self._call(model, step)
        report.seconds = time.perf_counter() - started
        if not report.changed:
            self._quiet[repr(step)] = self._changes
        else:
            self._changes += 1
            self._survey = survey(model)
            self._check(model, step)
            self.facts -= step.breaks
            if not self._survey.all_typed:
                self.facts.discard(SHAPES_KNOWN)
        report.nodes_before, report.nodes_after = nodes_before, self._survey.nodes
        if before is not None and step.keeps_interface and not keeps_interface(before, interface(model)):
            raise InternalError(_interface_fault(step, before, interface(model)), hint=self._history())
        self.facts |= step.gives
        self.reports.append(report)
        for observer in self.observers:
            observer.after(step, model, report)
        return report

    def _call(self, model: Model, step: Pass) -> Report:
        if isinstance(step, NodePass) and type(step).__call__ is NodePass.__call__:
            return step.visit(self._survey, model, self.target)
        return step(model, self.target)

    def _provide(self, model: Model, step: Pass) -> None:
        """Make sure that what the pass needs holds; shapes are inferred, anything else must have been given."""
        missing = set(step.needs) - self.facts
        if SHAPES_KNOWN in missing:
            infer_shapes(model)
            self.facts.add(SHAPES_KNOWN)
            missing.discard(SHAPES_KNOWN)
        if SHAPES_STATIC in missing and _all_static(model):
            self.facts.add(SHAPES_STATIC)
            missing.discard(SHAPES_STATIC)
        if missing:
            facts = ", ".join(sorted(missing))
            raise UsageError(f"pass {step.name} needs {facts}, which no pass before it gives", hint=self._history())

    def _check(self, model: Model, step: Pass) -> None:
        faults = self._survey.faults
        if not faults and self.verify != "off":
            fault = checker_fault(model)
            faults = [fault] if fault else []
        if faults:
            raise InternalError(f"pass {step.name} left an invalid model: {faults[0]}", hint=self._history())

    def _history(self) -> str:
        ran = ", ".join(report.name for report in self.reports if report.changed)
        return f"passes that changed the model before: {ran or 'none'}"


def _all_static(model: Model) -> bool:
    return all(
        value.shape is not None and value.shape.is_static()
        for graph in graphs_of(model)
        for node in graph
        for value in node.outputs
        if value.name
    )


def _interface_fault(step: Pass, before: object, after: object) -> str:
    return f"pass {step.name} changed the graph's inputs or outputs from {before} to {after}"
