"""Mixes an integer scheme with a float one under a bound on accuracy, stretch by stretch of the graph.

For chips that compute in 8 bits or in floats of 16, and have no integers between. Whole stretches become float: numbers
that change from integers to floats at every other node cost a conversion each, and compilers refuse some of them.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from npuopt.errors import AccuracyError
from npuopt.graph import is_constant, static_shape
from npuopt.graph.static_ends import with_static_ends
from npuopt.partition.macs import macs
from npuopt.quantization.arithmetic import limits
from npuopt.quantization.assignment.wishes import wishes_of
from npuopt.road.compilation import model_runs
from npuopt.road.mixing import FEW, integer_choices, unquantized
from npuopt.road.searching import IN_THE_WAY, SAMPLES, Budget, Found, search_precisions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from npuopt.graph import Model, Node
    from npuopt.quantization import Encodings
    from npuopt.quantization.accuracy.goals import Goal
    from npuopt.quantization.samples.data import Samples
    from npuopt.quantization.steps import Held, StepRecord, Work
    from npuopt.road.options import Say
    from npuopt.road.searching import Search

    Arrays = dict[str, np.ndarray]
    Build = Callable[[Mapping[str, str], Samples | None], tuple[Held, list[StepRecord]]]

STRETCHES = 16
"""Into how many parts a graph is cut. Each is measured once, alone in integers."""

FLOAT_BITS = 16
"""Of a weight beside float activations."""


class _Measured(NamedTuple):
    """A mix as it was measured: how it is held, the steps and the floats that led there, and the goal's metric."""

    held: Held
    steps: list[StepRecord]
    floats: list[str]
    value: float


def search_mix(work: Work, build: Build, search: Search) -> Found:
    """Search among the target's integer schemes or, where these leave no choice, for the stretches to leave in float.

    Args:
        work: calibrated; its precisions are those of nodes that are not to be touched.
        build: quantizes with given precisions.
        search: what must be reached, and what it may cost.

    Raises:
        AccuracyError: when no mix reaches the goal.
        UsageError: when there is nothing to choose between, or no data.
    """
    wide = float_scheme(work)
    has_choice = any(len(schemes) > 1 for schemes in integer_choices(work).values())
    if has_choice or wide is None or search.goal is None or search.budget != Budget() or work.samples is None:
        return search_precisions(work, build, search.goal, search.budget, search.say)
    return _FloatSearch(work, build, search.goal, wide, work.samples, search.say).run()


def float_scheme(work: Work) -> str | None:
    """Return the target's first scheme of float activations and weights, None where it has none."""
    schemes = work.target.schemes.items()
    return next((name for name, one in schemes if one.is_float and not one.is_weight_only and not one.is_float8), None)


class _FloatSearch:
    def __init__(self, work: Work, build: Build, goal: Goal, wide: str, samples: Samples, say: Say) -> None:
        self._work, self._build, self._goal, self._wide, self._say = work, build, goal, wide, say
        self._all, self._few = samples, samples.first(FEW)
        self._samples: list[Arrays] = [dict(sample) for sample in islice(samples, SAMPLES)]
        self._reference = self._runs(work.model)
        wishes = wishes_of(work.model, work.target, work.scheme, work.precisions)
        self._own = {_name(node): node for node, wish in wishes.items() if wish.scheme_name == work.scheme}
        self._nodes = {name: node for name, node in self._own.items() if work.target.accepts(node, wide)}
        self._fixed = [name for name in self._own if name not in self._nodes]
        self._rounds = 0

    def run(self) -> Found:
        """Leave the stretches in float that cost the goal most for the work in them, as few as it takes."""
        whole = self._measure((), self._all)
        if self._goal.is_met(whole.value):
            return self._found(whole)
        names = list(self._nodes)
        least = self._measure(names, self._few)
        if not self._goal.is_met(least.value):
            raise self._out_of_reach(least.value)
        ordered = self._ordered([part.tolist() for part in np.array_split(names, min(STRETCHES, len(names)))])
        made: dict[int, _Measured] = {len(ordered): least}

        def is_enough(count: int) -> bool:
            made[count] = self._measure(chain(*ordered[:count]), self._few)
            return self._goal.is_met(made[count].value)

        needed = bisect_left(range(len(ordered)), x=True, key=is_enough)
        return self._by_all_data(made[needed])

    def _ordered(self, stretches: list[list[str]]) -> list[list[str]]:
        """Put first what is worst, alone in integers, for the time that floats cost there."""
        everything = set(self._nodes)
        costs: list[float] = []
        for index, part in enumerate(stretches):
            self._say(f"measuring stretch {index + 1} of {len(stretches)} alone in {self._work.scheme}")
            alone = self._measure(everything - set(part), self._few)
            costs.append(self._goal.badness(alone.value) / sum(_work_of(self._nodes[name]) for name in part))
        return [stretches[at] for at in np.argsort(costs, kind="stable")[::-1]]

    def _by_all_data(self, few: _Measured) -> Found:
        """Round by all calibration data what was tried with a part of it, unless the goal is lost by that."""
        if self._all.count is not None and self._all.count <= FEW:
            return self._found(few)
        whole = self._measure(few.floats, self._all)
        return self._found(whole if self._goal.is_met(whole.value) else few)

    def _measure(self, floats: Iterable[str], data: Samples) -> _Measured:
        self._rounds += 1
        floats = self._together(floats)
        held, steps = self._build({**self._work.precisions, **dict.fromkeys(floats, self._wide)}, data)
        got = self._runs(unquantized(self._work.model, held).quantized())
        return _Measured(held, steps, floats, self._goal.measure(self._samples, self._reference, got))

    def _together(self, floats: Iterable[str]) -> list[str]:
        """Return the nodes without those that neither get floats nor hand any on: conversions would surround them.

        RKNN-Toolkit2 refuses such convolutions (`Invalid w_par['dtype']`).
        """
        left = list(dict.fromkeys(floats))
        while True:
            integer = self._own.keys() - set(left)
            kept = [name for name in left if _touches_floats(self._nodes[name], integer)]
            if len(kept) == len(left):
                return kept
            left = kept

    def _runs(self, model: Model) -> list[Arrays]:
        """Run the model; without its outputs that data sizes, but for a function of the user's own."""
        return list(model_runs(model if self._goal.is_function else with_static_ends(model), self._samples))

    def _found(self, made: _Measured) -> Found:
        precisions = {**self._work.precisions, **dict.fromkeys(made.floats, self._wide)}
        counts = {self._work.scheme: len(self._own) - len(made.floats), self._wide: len(made.floats)}
        record = {
            "metric": self._goal.metric,
            "limit": self._goal.limit,
            "measured": min(made.value, 1e9),
            "text": self._goal.text(made.value),
            "samples": len(self._samples),
            "rounds": self._rounds,
            "layers": {scheme: count for scheme, count in counts.items() if count},
            "bytes": _bytes(self._work, made.held.encodings),
            "latency": None,
            "estimated_sqnr_db": None,
        }
        return Found(made.held, made.steps, precisions, record)

    def _out_of_reach(self, measured: float) -> AccuracyError:
        """Say what is in the way: what the target does not take in floats, or what was given."""
        goal, work = self._goal, self._work
        wanted = goal.text(goal.limit) if goal.metric == "sqnr" else f"{goal.metric} within {goal.limit:g}"
        names = ", ".join(self._fixed[:IN_THE_WAY])
        left = f"in the way: {names}, which {work.target.name} does not take in {self._wide}"
        return AccuracyError(
            f"{wanted} is out of reach: with all that it can in {self._wide}, it has {goal.text(measured)}",
            hint=left if names else "leave out --keep and --precisions, or ask for less",
        )


def _touches_floats(node: Node, integer: Collection[str]) -> bool:
    """Say whether a node reads a float of the graph's own, or of or for a node that is none of the integer ones."""
    for value in node.inputs:
        if value is not None and not is_constant(value):
            maker = value.producer()
            if maker is None or _name(maker) not in integer:
                return True
    return any(
        made.is_graph_output() or any(_name(use.node) not in integer for use in made.uses()) for made in node.outputs
    )


def _name(node: Node) -> str:
    return node.outputs[0].name or ""


def _work_of(node: Node) -> float:
    """Return multiply-adds, and one for each number of the result."""
    return macs(node) + float(np.prod(static_shape(node.outputs[0]) or (1,)))


def _bytes(work: Work, encodings: Encodings) -> float:
    """Return the size of all constants that are held as numbers, scales aside."""
    total, seen = 0.0, set[str]()
    for node in work.model.graph:
        for index, value in enumerate(node.inputs):
            if value is None or not is_constant(value) or (name := value.name or "") in seen:
                continue
            seen.add(name)
            encoding = encodings.read_by(_name(node), index, name)
            low, high = (0, 2**FLOAT_BITS - 1) if encoding is None else limits(encoding.dtype)
            total += float(np.prod(static_shape(value) or (1,))) * (high - low).bit_length() / 8
    return total
