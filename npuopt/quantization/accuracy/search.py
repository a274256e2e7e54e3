"""Chooses a scheme for each layer: an integer program over noise at the outputs, estimated time and bytes.

The noise of a layer at an output is its own error times what the model makes of it there; layers' noises add up. Where
a wide layer is read by a narrow one, what it makes is rounded for this reader after all, and that noise counts too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from npuopt.errors import ToolchainMissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SECONDS = 20.0
"""After which the solver gives the best that it has; some hundred layers take a fraction of one."""

GAP = 0.01
"""Relative difference to the proven optimum at which the solver may stop: the noises are estimates, too."""


@dataclass(frozen=True)
class Option:
    """One scheme for one layer.

    Attributes:
        scheme: its name.
        width: bits of its activations.
        noise: at each output, relative to the output's power.
        time: estimated, in any unit.
        bytes: of the layer's constants.
    """

    scheme: str
    width: int
    noise: Mapping[str, float]
    time: float
    bytes: float


@dataclass(frozen=True)
class Choice:
    """A layer, and the schemes that it may have.

    Attributes:
        name: what the layer makes.
        options: at least one.
        readers: the layers that read what it makes, by name.
        rounding: noise at each output where a reader is narrower than this layer.
        converting: estimated time of one conversion of what it makes, in the unit of the options.
    """

    name: str
    options: tuple[Option, ...]
    readers: tuple[str, ...] = ()
    rounding: Mapping[str, float] = field(default_factory=dict[str, float])
    converting: float = 0.0


@dataclass(frozen=True)
class Bounds:
    """What an assignment must keep to.

    Attributes:
        noise: the most at each of these outputs.
        time: the most in all.
        bytes: the most in all.
    """

    noise: Mapping[str, float] = field(default_factory=dict[str, float])
    time: float | None = None
    bytes: float | None = None


@dataclass(frozen=True)
class Assignment:
    """A scheme for each layer, and what it is expected to bring.

    Attributes:
        schemes: by layer.
        noise: at each output.
        time: in the unit of the options.
        bytes: of all constants.
    """

    schemes: Mapping[str, str]
    noise: Mapping[str, float]
    time: float
    bytes: float


def fastest(choices: Sequence[Choice], bounds: Bounds) -> Assignment | None:
    """Return the assignment that takes the least time within the bounds, None where there is none.

    Raises:
        ToolchainMissingError: when the solver is not installed.
    """
    program = _Program(choices)
    program.bound(bounds)
    return program.solve(program.times() + 1e-9 * program.bytes())


def most_exact(choices: Sequence[Choice], outputs: Sequence[str], bounds: Bounds) -> Assignment | None:
    """Return the assignment with the least noise at the noisiest of these outputs within the bounds, if there is one.

    Raises:
        ToolchainMissingError: when the solver is not installed.
    """
    program = _Program(choices, worst=True)
    program.bound(bounds)
    for output in outputs:
        row = program.noises(output) / program.unit
        row[program.worst] = -1.0
        program.limit(row, 0.0)
    goal = 1e-6 * program.times() / max(program.times().sum(), 1.0)
    goal[program.worst] = 1.0
    return program.solve(goal)


def require_solver() -> tuple[Any, Any]:
    """Return scipy's optimization and sparse arrays, which have no types.

    Raises:
        ToolchainMissingError: when scipy is not installed.
    """
    try:
        return import_module("scipy.optimize"), import_module("scipy.sparse")
    except ImportError as error:
        raise ToolchainMissingError(
            "the search for precisions needs scipy", hint="pip install 'npuopt[search]'"
        ) from error


class _Program:
    """Variables: one for each option (0 or 1), then for each edge how far the reader is below or above its maker."""

    def __init__(self, choices: Sequence[Choice], *, worst: bool = False) -> None:
        self._choices = {choice.name: choice for choice in choices}
        self._options = [(choice, option) for choice in choices for option in choice.options]
        self._first: dict[str, int] = {}
        for index, (choice, _) in enumerate(self._options):
            self._first.setdefault(choice.name, index)
        self._edges = [(c, self._choices[r]) for c in choices for r in c.readers if r in self._choices]
        self._rounded = {choice.name: index for index, choice in enumerate(choices)}
        options, edges = len(self._options), len(self._edges)
        self._down, self._up, self._round = options, options + edges, options + 2 * edges
        self.worst = self._round + len(choices)
        self._count = self.worst + worst
        self._has_worst = worst
        noises = [noise for _, option in self._options for noise in option.noise.values()]
        self.unit = max((noise for noise in noises if np.isfinite(noise)), default=0.0) or 1.0
        self._rows: list[np.ndarray] = []
        self._low: list[float] = []
        self._high: list[float] = []
        self._structure()

    def times(self) -> np.ndarray:
        """Return the time that each variable stands for."""
        row = self._per_option(lambda option: option.time)
        for index, (maker, _) in enumerate(self._edges):
            row[self._down + index] = row[self._up + index] = maker.converting
        return row

    def bytes(self) -> np.ndarray:
        """Return the bytes that each variable stands for."""
        return self._per_option(lambda option: option.bytes)

    def noises(self, output: str) -> np.ndarray:
        """Return the noise at an output that each variable stands for."""
        row = self._per_option(lambda option: min(option.noise.get(output, 0.0), 1e6 * self.unit))
        for name, index in self._rounded.items():
            row[self._round + index] = self._choices[name].rounding.get(output, 0.0)
        return row

    def bound(self, bounds: Bounds) -> None:
        """Keep to the bounds."""
        for output, most in bounds.noise.items():
            self.limit(self.noises(output) / self.unit, most / self.unit)
        if bounds.time is not None:
            self.limit(self.times() / bounds.time, 1.0)
        if bounds.bytes is not None:
            self.limit(self.bytes() / max(bounds.bytes, 1.0), 1.0 if bounds.bytes >= 1 else 0.0)

    def limit(self, row: np.ndarray, most: float, least: float = -np.inf) -> None:
        """Add `least <= row . variables <= most`."""
        self._rows.append(row)
        self._low.append(least)
        self._high.append(most)

    def solve(self, goal: np.ndarray) -> Assignment | None:
        """Minimize, and return the assignment that was found."""
        optimize, sparse = require_solver()
        kinds = np.zeros(self._count)
        kinds[: len(self._options)] = 1
        highest = np.ones(self._count)
        if self._has_worst:
            highest[self.worst] = np.inf
        found = optimize.milp(
            goal,
            constraints=optimize.LinearConstraint(sparse.csr_array(np.stack(self._rows)), self._low, self._high),
            integrality=kinds,
            bounds=optimize.Bounds(0, highest),
            options={"time_limit": SECONDS, "mip_rel_gap": GAP},
        )
        return None if found.x is None else self._assignment(cast("np.ndarray", found.x))

    def _structure(self) -> None:
        """One option for each layer; each edge at least as far down and up as its ends are apart."""
        widths = [option.width for _, option in self._options]
        widest, narrowest = max(widths, default=0), min(widths, default=0)
        span = max(widest - narrowest, 1)
        for choice in self._choices.values():
            row = np.zeros(self._count)
            start = self._first[choice.name]
            row[start : start + len(choice.options)] = 1
            self.limit(row, 1.0, 1.0)
        for index, (maker, reader) in enumerate(self._edges):
            apart = np.zeros(self._count)
            for sign, choice in ((1.0, maker), (-1.0, reader)):
                for offset, option in enumerate(choice.options):
                    apart[self._first[choice.name] + offset] += sign * (option.width - narrowest) / span
            for sign, variable in ((1.0, self._down + index), (-1.0, self._up + index)):
                row = sign * apart
                row[variable] -= 1
                self.limit(row, 0.0)
            row = np.zeros(self._count)
            row[self._down + index], row[self._round + self._rounded[maker.name]] = 1, -1
            self.limit(row, 0.0)

    def _assignment(self, values: np.ndarray) -> Assignment:
        chosen: dict[str, str] = {}
        for (choice, option), value in zip(self._options, values, strict=False):
            if value > 0.5:
                chosen[choice.name] = option.scheme
        outputs = {output for _, option in self._options for output in option.noise}
        noise = {output: float(self.noises(output) @ values) for output in sorted(outputs)}
        return Assignment(chosen, noise, float(self.times() @ values), float(self.bytes() @ values))

    def _per_option(self, figure: Callable[[Option], float]) -> np.ndarray:
        row = np.zeros(self._count)
        row[: len(self._options)] = [figure(option) for _, option in self._options]
        return row
