"""Assigns a scheme to each node under a bound on accuracy and a budget: measure, solve, measure again."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Any

from npuopt.errors import AccuracyError, UsageError
from npuopt.graph.static_ends import with_static_ends
from npuopt.quantization.accuracy.goals import Goal
from npuopt.quantization.accuracy.search import Assignment, Bounds, fastest, most_exact, require_solver
from npuopt.quantization.accuracy.sensitivity import decibels
from npuopt.quantization.samples.data import open_samples
from npuopt.road.compilation import model_runs
from npuopt.road.mixing import FEW

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from npuopt.graph import Model
    from npuopt.quantization.samples.data import Samples
    from npuopt.quantization.steps import Held, StepRecord, Work
    from npuopt.road.mixing import Mix
    from npuopt.road.options import CompileOptions, Say
    from npuopt.target import Target

    Arrays = dict[str, np.ndarray]
    Build = Callable[[Mapping[str, str], Samples | None], tuple[Held, list[StepRecord]]]

SAMPLES = 32
"""Samples, from all over the data, that the bound is measured on."""

ROUNDS = 5
"""How often an assignment is measured and the bound on its estimated noise corrected."""

ENOUGH = 0.8
"""Share of the bound from which on there is too little left to gain for another round."""


@dataclass(frozen=True)
class Budget:
    """What an assignment may cost.

    Attributes:
        bytes: of all weights, as they are held.
        latency: estimated time, relative to the fastest assignment there is.
    """

    bytes: float | None = None
    latency: float | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `bytes=N` (with K, M or G for powers of 1000) or `latency=RATIO`.

        Raises:
            UsageError: when it is of another form.
        """
        kind, _, number = text.partition("=")
        unit = {"K": 1e3, "M": 1e6, "G": 1e9}.get(number[-1:].upper(), 1.0) if kind == "bytes" else 1.0
        try:
            size = float(number[:-1] if unit > 1 else number) * unit
        except ValueError:
            size = 0.0
        if kind not in ("bytes", "latency") or not 0 < size < float("inf"):
            raise UsageError(f"{text!r} is no budget", hint="write bytes=20M or latency=1.2")
        return cls(**{kind: size})


@dataclass(frozen=True)
class Search:
    """A search that is to be made.

    Attributes:
        goal: what the quantized model must reach; None for as exact as the budget allows.
        budget: what it may cost.
        held_out: data that the goal is measured on, in a form that calibration data has; that data itself when None.
        say: told what is being done.
    """

    goal: Goal | None
    budget: Budget
    held_out: Any
    say: Say

    @classmethod
    def wanted(cls, target: Target, scheme: str, options: CompileOptions, *, say: Say) -> Search | None:
        """Return the search that the options ask for, None where they ask for none.

        Raises:
            UsageError: when a bound or a budget is wrong, or there is nothing to choose.
            ToolchainMissingError: when the solver is not installed.
        """
        if options.max_drop is None and options.held_out is not None:
            raise UsageError("--held-out is what --max-drop is measured on, and there is none")
        if options.max_drop is None and options.budget is None:
            return None
        goal = None if options.max_drop is None else Goal.parse(options.max_drop)
        budget = Budget() if options.budget is None else Budget.parse(options.budget)
        if not target.scheme(scheme).is_integer or options.encodings is not None:
            why = "encodings are given" if target.scheme(scheme).is_integer else f"scheme {scheme} is a float one"
            raise UsageError(f"--max-drop and --budget choose integer schemes, and {why}")
        require_solver()
        return cls(goal, budget, options.held_out, say)


@dataclass
class Found:
    """What the search found, for the record.

    Attributes:
        held: how numbers are held.
        steps: the quantization steps that led there.
        precisions: the nodes that differ from the model's scheme.
        record: figures, for JSON.
    """

    held: Held
    steps: list[StepRecord]
    precisions: Mapping[str, str]
    record: dict[str, Any] = field(default_factory=dict[str, Any])


def search_precisions(work: Work, build: Build, search: Search, mix: Mix) -> Found:
    """Return the fastest assignment that keeps to the goal and the budget, or the most exact one within the budget.

    Args:
        work: calibrated; its precisions are those of nodes that are not to be touched.
        build: quantizes with these precisions.
        search: what must be reached, and what it may cost.
        mix: measures the choices.

    Raises:
        AccuracyError: when nothing within the budget reaches the goal, with the best that was found.
        UsageError: when nothing fits the budget, or there is nothing to choose between.
        InputError: when the held-out data is not there or does not fit.
    """
    return _Search(work, build, search, mix).run()


@dataclass(frozen=True)
class _Trial:
    """An assignment as it was measured."""

    assignment: Assignment
    found: Found
    measured: float

    def is_met(self, goal: Goal | None) -> bool:
        return goal is None or goal.is_met(self.measured)


class _Search:
    def __init__(self, work: Work, build: Build, search: Search, mix: Mix) -> None:
        if work.samples is None:
            raise UsageError("precisions are searched for on data", hint="give --calibration data")
        goal = search.goal
        self._work, self._build, self._goal, self._say = work, build, goal, search.say
        self._all, self._few = work.samples, work.samples.first(FEW)
        self._is_held_out = search.held_out is not None
        judging = open_samples(search.held_out, work.model) if self._is_held_out else work.samples
        self._samples: list[Arrays] = judging.spread(SAMPLES)
        self._reference = self._runs(work.model)
        ends = self._static_ends()
        self._outputs = goal.outputs(ends) if goal is not None else list(ends)
        self._mixing = mix(work, build, self._samples, self._say)
        self._bounds = self._within(search.budget)

    def run(self) -> Found:
        """Find the most exact assignment, then faster ones as long as the goal is met."""
        best = self._trial(self._solve_exact())
        if self._goal is None:
            return self._recorded(self._with_all_data(best), 1)
        if not best.is_met(self._goal):
            best = self._with_all_data(best)
        if not best.is_met(self._goal):
            raise self._out_of_reach(best)
        found, rounds = self._faster(best, self._goal)
        return self._recorded(self._with_all_data(found), rounds)

    def _with_all_data(self, trial: _Trial) -> _Trial:
        """Round by all calibration data what was tried with a part of it, unless the goal is lost by that."""
        if self._all.count is not None and self._all.count <= FEW:
            return trial
        whole = self._measured(trial.assignment, trial.found.precisions, self._all)
        return trial if trial.is_met(self._goal) and not whole.is_met(self._goal) else whole

    def _faster(self, best: _Trial, goal: Goal) -> tuple[_Trial, int]:
        """Return the fastest assignment that was measured and meets the goal, and how many were."""
        reaches, fails = self._noise(best.assignment), 0.0
        allowed = self._estimated_bound(best, goal)
        rounds = 1
        while rounds <= ROUNDS:
            noise = dict.fromkeys(self._outputs, allowed)
            chosen = fastest(self._mixing.choices, Bounds(noise, self._bounds.time, self._bounds.bytes))
            if chosen is None or chosen.schemes == best.assignment.schemes:
                break
            trial = self._trial(chosen)
            rounds += 1
            if trial.is_met(goal):
                best, reaches = (trial, allowed) if chosen.time <= best.assignment.time else (best, allowed)
                if goal.badness(trial.measured) > ENOUGH:
                    break
                stretched = allowed * min(max(1.0 / max(goal.badness(trial.measured), 1e-3), 1.2), 4.0)
                allowed = sqrt(allowed * fails) if fails else stretched
            else:
                fails = allowed
                allowed = max(sqrt(reaches * fails), 0.9 * allowed / goal.badness(trial.measured))
            if fails and fails < 1.1 * allowed:
                allowed = sqrt(reaches * fails)
        return best, rounds

    def _estimated_bound(self, best: _Trial, goal: Goal) -> float:
        """Return the noise at which the goal is just met: known for a ratio of signal to noise, else in proportion."""
        if goal.metric == "sqnr":
            return 10 ** (-goal.limit / 10)
        badness = goal.badness(best.measured)
        return self._noise(best.assignment) * min(1.0 / max(badness, 1e-3), 1e3)

    def _trial(self, assignment: Assignment) -> _Trial:
        """Quantize and measure."""
        precisions = {**self._work.precisions, **self._mixing.precisions(assignment)}
        self._say("quantizing a mix of precisions")
        return self._measured(assignment, precisions, self._few)

    def _measured(self, assignment: Assignment, precisions: Mapping[str, str], data: Samples) -> _Trial:
        held, steps = self._build(precisions, data)
        made = self._mixing.quantized(held)
        got = self._runs(made)
        measured = 0.0 if self._goal is None else self._goal.measure(self._samples, self._reference, got)
        return _Trial(assignment, Found(held, steps, precisions), measured)

    def _solve_exact(self) -> Assignment:
        found = most_exact(self._mixing.choices, self._outputs, self._bounds)
        if found is None:
            least = fastest(self._mixing.choices, Bounds())
            figures = "" if least is None else f"; the least is {least.bytes:.0f} bytes"
            raise UsageError(f"no assignment of {self._work.target.name}'s schemes fits the budget{figures}")
        return found

    def _within(self, budget: Budget) -> Bounds:
        time = None
        if budget.latency is not None:
            least = fastest(self._mixing.choices, Bounds())
            time = None if least is None else least.time * budget.latency
        return Bounds({}, time, budget.bytes)

    def _runs(self, model: Model) -> list[Arrays]:
        """Run the model; without its outputs that data sizes, but for a function of the user's own."""
        judged = model if self._goal is not None and self._goal.is_function else with_static_ends(model)
        return list(model_runs(judged, self._samples))

    def _static_ends(self) -> Arrays:
        """Return the float outputs, of one sample, that layers' effects are known at."""
        whole = self._work.model
        ends = with_static_ends(whole)
        is_judged = ends is whole or self._goal is None or not self._goal.is_function
        made = self._reference[0] if is_judged else model_runs(ends, self._samples[:1])[0]
        return {name: array for name, array in made.items() if array.dtype.kind == "f"}

    def _noise(self, assignment: Assignment) -> float:
        return max((assignment.noise.get(output, 0.0) for output in self._outputs), default=0.0)

    def _widest_time(self) -> float:
        """Return the estimated time with each layer in the most bits that it can have."""
        return sum(max(choice.options, key=lambda option: option.width).time for choice in self._mixing.choices)

    def _recorded(self, trial: _Trial, rounds: int) -> Found:
        """Put figures on record."""
        goal, assignment = self._goal, trial.assignment
        least = fastest(self._mixing.choices, Bounds())
        trial.found.record = {
            "metric": None if goal is None else goal.metric,
            "limit": None if goal is None else goal.limit,
            "measured": None if goal is None else min(trial.measured, 1e9),
            "text": "" if goal is None else goal.text(trial.measured),
            "samples": len(self._samples),
            "held_out": self._is_held_out,
            "rounds": rounds,
            "layers": self._mixing.counts(trial.found.precisions),
            "bytes": assignment.bytes,
            "latency": None if least is None or not least.time else assignment.time / least.time,
            "widest_latency": None if least is None or not least.time else self._widest_time() / least.time,
            "estimated_sqnr_db": min(decibels(self._noise(assignment)), 1e9),
        }
        return trial.found

    def _out_of_reach(self, best: _Trial) -> AccuracyError:
        """Say what the best is, and which layers are in the way."""
        goal = self._goal
        if goal is None:
            raise ValueError("nothing is out of reach without a goal")
        tried, hint = self._mixing.in_the_way(best.assignment, self._outputs)
        wanted = goal.text(goal.limit) if goal.metric == "sqnr" else f"{goal.metric} within {goal.limit:g}"
        return AccuracyError(f"{wanted} is out of reach: {tried} {goal.text(best.measured)}", hint=hint)
