"""Draws graphs and pipelines until the time is over, and keeps what computes something else afterwards."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.printer
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import UnsatisfiedAssumption

from fuzz.graphs import Chained, draw_graph
from fuzz.judge import difference, sensitivity
from fuzz.patterns import patterns
from fuzz.pipelines import draw_pipeline
from npuopt.errors import NpuoptError
from npuopt.graph import to_proto
from support.numbers import run

if TYPE_CHECKING:
    from pathlib import Path

    from fuzz.pipelines import Pipeline
    from support.numbers import Arrays

ROUND = 20
"""Graphs drawn from one seed."""


@dataclass
class Find:
    """A graph that a pipeline breaks."""

    seed: int
    what: str
    pipeline: Pipeline
    patterns: tuple[str, ...]
    model: onnx.ModelProto
    feeds: Arrays

    def write(self, folder: Path) -> Path:
        """Write model.onnx, feeds.npz and find.txt into a folder of the find's own."""
        place = folder / f"seed-{self.seed}"
        place.mkdir(parents=True, exist_ok=True)
        onnx.save(self.model, place / "model.onnx")
        np.savez(place / "feeds.npz", **dict(self.feeds))
        (place / "find.txt").write_text(f"{self}\n\n{onnx.printer.to_text(self.model)}\n", encoding="utf-8")
        return place

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.what}\n  {self.pipeline}\n  patterns: {', '.join(self.patterns)}"


@dataclass
class Fuzzer:
    """Runs rounds; a seed always gives the same round.

    Attributes:
        counts: graphs by what came of them.
        finds: at most one for each seed.
    """

    counts: Counter[str] = field(default_factory=Counter[str])
    finds: list[Find] = field(default_factory=list[Find])

    def run(self, first: int, seconds: float) -> None:
        """Run rounds from seed `first` on until `seconds` are over, one at least."""
        end = time.monotonic() + seconds
        number = first
        while True:
            self.round(number)
            number += 1
            if time.monotonic() >= end:
                return

    def round(self, number: int) -> None:
        """Run the round of one seed, up to its first find."""
        every = patterns()
        found: list[Find] = []

        @seed(number)
        @settings(
            max_examples=ROUND,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def try_one(data: st.DataObject) -> None:
            around = Chained(data.draw)
            chosen = draw_graph(around, every)
            pipeline = draw_pipeline(data.draw)
            try:
                model = around.model()
                source = to_proto(model)
                expected = run(model, around.feeds)
                moves = sensitivity(model, around.feeds, expected)
            except UnsatisfiedAssumption:
                raise
            except Exception:  # noqa: BLE001 -- onnx and ONNX Runtime have a dozen ways to say that a graph is none
                self.counts["not valid"] += 1
                return
            if moves is None:
                self.counts["hangs on the last bits"] += 1
                return
            try:
                changed = pipeline.run(model)
                what = difference(expected, run(model, around.feeds), moves)
            except Exception as error:  # noqa: BLE001 -- whatever it raises is a find
                changed, what = True, f"{type(error).__name__}: {error}"
                if isinstance(error, NpuoptError):
                    what = str(error)
            self.counts["changed" if changed else "left alone"] += 1
            if what is not None:
                names = tuple(pattern.name for pattern in chosen)
                found.append(Find(number, what, pipeline, names, source, around.feeds))

        try_one()
        self.finds += found[:1]
