"""Beside the road: `run`, an artifact on inputs from a file."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from npuopt.delegates.contract import Limits
from npuopt.errors import cannot_write
from npuopt.graph.saving import replacing
from npuopt.road.options import Say, silent
from npuopt.road.records import describe_outputs
from npuopt.runtime import Artifact, Engine, Fallback

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from npuopt.runtime.steps import OnFailure, Told


def run(
    artifact: Path,
    inputs: Path,
    *,
    output: Path | None = None,
    engine: Engine = "device",
    on_failure: OnFailure = "stop",
    told: Told = lambda _: None,
    time_limit: float = 900.0,
    say: Say = silent,
) -> dict[str, Any]:
    """Run an artifact on a .npz whose arrays' leading axis counts samples; returns what `run --json` prints.

    `output` gets the same; an output whose size differs from sample to sample is there as `NAME[0]`, `NAME[1]`...
    A compiled part that fails stops it, or with `on_failure="cpu"` runs in ONNX Runtime, which `told` hears of.
    """
    opened = Artifact.open(artifact)
    samples = opened.samples(inputs)
    say(f"running {len(samples)} sample(s)")
    started = time.perf_counter()
    fallbacks: list[Fallback] = []

    def fell(fallback: Fallback) -> None:
        fallbacks.append(fallback)
        told(fallback)

    limits = Limits(seconds=time_limit)
    results = opened.run(samples, engine=engine, limits=limits, on_failure=on_failure, told=fell)
    seconds = time.perf_counter() - started
    made = {name: [result[name] for result in results] for name in results[0]}
    if output is not None:
        stacked = {key: array for name, arrays in made.items() for key, array in _to_save(name, arrays).items()}
        try:
            with replacing(output) as file:
                np.savez(file, allow_pickle=False, **stacked)
        except OSError as error:
            raise cannot_write(error, str(output)) from error
    return {
        "artifact": str(artifact),
        "engine": engine,
        "samples": len(samples),
        "seconds": seconds,
        "fallbacks": [asdict(fallback) for fallback in fallbacks],
        "outputs": [describe_outputs(name, arrays) for name, arrays in made.items()],
    }


def _to_save(name: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the samples of an output stacked, or each by its number where data decides how large they are."""
    if len({array.shape for array in arrays}) == 1:
        return {name: np.stack(arrays)}
    return {f"{name}[{number}]": array for number, array in enumerate(arrays)}
