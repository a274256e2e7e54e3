"""All that calibration remembers of a model and its data while samples stream by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from npuopt.graph import is_constant, is_op, label, nodes
from npuopt.quantization.calibration.branches import BranchWatch
from npuopt.quantization.calibration.coverage import CoverageObserver
from npuopt.quantization.calibration.first_runs import FirstRuns
from npuopt.quantization.calibration.methods import method_text
from npuopt.quantization.calibration.movement import MovementObserver
from npuopt.quantization.calibration.watches import SAME_NUMBERS, Watch, feature_axes, softmax_axes
from npuopt.quantization.ranges import Range, Ranges
from npuopt.quantization.roles import float_values

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.calibration.coverage import Coverage
    from npuopt.quantization.calibration.looking import Look, Summary
    from npuopt.quantization.calibration.methods import Method
    from npuopt.quantization.calibration.movement import Movement

MOVEMENT, BRANCHES = "\0movement", "\0branches"
"""What stands in a state beside the tensors; no tensor's name holds a NUL."""


@dataclass(frozen=True)
class DataReport:
    """What is to be said of calibration data.

    Attributes:
        coverage: what it shows of the inputs.
        movement: how much the ranges still grew late.
        branches: sentences on branches that never ran.
    """

    coverage: Coverage
    movement: Movement
    branches: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """Say what somebody should know."""
        return [*self.coverage.notes(), *self.branches]

    def warnings(self) -> list[str]:
        """Say what makes the result doubtful."""
        return [warning] if (warning := self.movement.warning()) else []

    def to_json(self) -> dict[str, Any]:
        """Return it for the record."""
        return {**self.coverage.to_json(), "ranges": self.movement.to_json(), "notes": self.notes()}


class Observation:
    """What was seen so far.

    Args:
        model: the float model.
        method: how ranges are found.
        count: how many samples there will be, None when unknown.
        first: of how many samples inputs and outputs are to be kept.

    Attributes:
        samples: how many were taken in.
        is_within_sample: whether one has been taken in by half.
    """

    def __init__(self, model: Model, method: Method, count: int | None, first: int = 0) -> None:
        self.samples = 0
        self.is_within_sample = False
        self._digests: dict[int, str] = {}
        self._model = model
        self._method = method
        self._watches = {value.name or "": Watch(value, method) for value in _watched(model)}
        self._inputs = [name for value in model.graph.inputs if (name := value.name or "") in self._watches]
        self._conditions = BranchWatch(model)
        self._coverage = CoverageObserver(model)
        self._movement = MovementObserver(count)
        self._first = FirstRuns(model, first)

    @property
    def digest(self) -> str:
        """A short text for all samples that were looked at, in order."""
        return self._coverage.digest

    @property
    def digest_of_taken(self) -> str:
        """The same for those that were taken in."""
        return self._digests[self.samples]

    @property
    def looked_at(self) -> int:
        """How many samples were looked at."""
        return self._coverage.samples

    def notes_after(self, samples: int) -> bool:
        """Say whether the ranges after so many samples are needed, so that those are to be taken in first."""
        return self._movement.notes_after(samples)

    def looks(self) -> list[Look]:
        """Return what is wanted of the tensors that nodes make."""
        inner = (watch for name, watch in self._watches.items() if name not in self._inputs)
        return [*(watch.look() for watch in inner), *self._conditions.looks(), *self._first.looks()]

    def check(self, sample: Mapping[str, np.ndarray]) -> int:
        """Look at a sample's inputs alone; return how many samples were looked at.

        Raises:
            InputError: when the model cannot digest it.
        """
        self._coverage.update(sample)
        if self.looked_at >= self.samples:
            self._digests[self.looked_at] = self._coverage.digest
        return self.looked_at

    def take_inputs(self, sample: Mapping[str, np.ndarray]) -> None:
        """Take in a sample's inputs."""
        self.is_within_sample = True
        self._first.take_inputs(sample)
        for name in self._inputs:
            self._watches[name].take(sample[name])
        for name, array in sample.items():
            if self._conditions.watches(name):
                self._conditions.take(name, array)

    def take(self, name: str, seen: np.ndarray | Summary) -> None:
        """Take in what was seen of one tensor.

        Raises:
            InputError: when there is NaN in it.
        """
        self.is_within_sample = True
        if self._first.watches(name):
            self._first.take(name, seen)
        if name in self._watches:
            self._watches[name].take(seen)
        elif self._conditions.watches(name):
            self._conditions.take(name, seen)

    def end_samples(self, count: int) -> None:
        """Count samples as done."""
        for _ in range(count):
            self._digests.pop(self.samples, None)
            self.samples += 1
            self._movement.update(self.samples, (watch.range() for watch in self._watches.values()))
        self.is_within_sample = False

    def states(self) -> dict[str, dict[str, np.ndarray]]:
        """Return all that is remembered of the tensors; the samples have to be looked at again."""
        states = {name: watch.state() for name, watch in self._watches.items()}
        return {**states, MOVEMENT: self._movement.state(), BRANCHES: self._conditions.state()}

    def restore(self, samples: int, states: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Remember what `states` returned after so many samples."""
        self._first.give_up()
        for name, watch in self._watches.items():
            watch.restore(states[name])
        self._movement.restore(states[MOVEMENT])
        self._conditions.restore(states[BRANCHES])
        self.samples = samples

    def ranges(self) -> Ranges:
        """Put together what was seen.

        Raises:
            InputError: when a branch that makes floats never ran.
        """
        self._conditions.require_all()
        watches = self._watches
        ranges = {name: watch.range() for name, watch in watches.items()}
        moved = _moved(self._model, ranges)
        means = {name: found for name, watch in watches.items() if (found := watch.means())}
        movement = self._movement.result(self.samples, ranges.values())
        ranges.update({name: _alone(ranges[source]) for name, source in moved.items()})
        seen = {name: found for name, watch in watches.items() if (found := watch.seen()) is not None}
        seen.update({name: seen[source] for name, source in moved.items() if source in seen})

        def fitted(name: str, levels: int, symmetric: bool) -> Range:
            if name in moved:
                return _alone(watches[moved[name]].range(levels, symmetric=symmetric))
            return watches[name].range(levels, symmetric=symmetric)

        branches = [
            f"no sample takes the {branch} branch of {label(node)}" for node, branch in self._conditions.never_taken()
        ]
        report = DataReport(self._coverage.result(), movement, tuple(branches))
        return Ranges(
            ranges, method_text(self._method), self.samples, means, fitted, report, seen, self._first.result()
        )


def _watched(model: Model) -> list[Value]:
    """List the tensors whose numbers have to be looked at."""
    return [
        value
        for value in float_values(model)
        if softmax_axes(value) or feature_axes(value) or not _repeats(value.producer())
    ]


def _repeats(node: Node | None) -> bool:
    """Say whether the node's output has the range of its input 0, which is looked at instead."""
    return node is not None and is_op(node, *SAME_NUMBERS) and not is_constant(node.inputs[0])


def _moved(model: Model, known: Collection[str]) -> dict[str, str]:
    """Return which looked-at tensor's numbers the outputs of ops that only move numbers hold, by their names."""
    moved: dict[str, str] = {}
    for node in nodes(model, *SAME_NUMBERS):
        source, output = node.inputs[0], node.outputs[0].name or label(node)
        name = "" if source is None else source.name or ""
        root = moved.get(name, name)
        if output not in known and root in known:
            moved[output] = root
    return moved


def _alone(found: Range) -> Range:
    """Return the interval without the peaks, which are those of one Softmax's input only."""
    return Range(found.low, found.high)
