"""Runs calibration samples through the float model and keeps the range of every float tensor."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from npuopt.graph import fingerprint
from npuopt.quantization.calibration.checkpoint import Checkpoint, Keeper
from npuopt.quantization.calibration.looking import Looker, room_for_weights
from npuopt.quantization.calibration.methods import MinMax, method_text
from npuopt.quantization.calibration.observation import Observation
from npuopt.quantization.calibration.taps import TAP_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from npuopt.graph import Model
    from npuopt.quantization.calibration.methods import Method
    from npuopt.quantization.ranges import Ranges
    from npuopt.quantization.samples.data import Samples


def calibrate(  # noqa: PLR0913 -- options, all with defaults
    model: Model,
    samples: Samples,
    method: Method | None = None,
    *,
    progress: Callable[[int, int | None], None] | None = None,
    state: Path | None = None,
    first: int = 0,
    tap_bytes: int = TAP_BYTES,
    weight_bytes: int | None = None,
    threads: int = 0,
) -> Ranges:
    """Find the range of every float tensor of the main graph that is no constant, in one pass of inference.

    Memory holds the weights, a few samples that run side by side (a thread for each), and what the method remembers of
    each tensor; for methods that look at all numbers also at most `tap_bytes` of activations (or the largest one). It
    does not grow with the samples.

    Args:
        model: the float model; it comes back as it was.
        samples: read once.
        method: how ranges are found; least and greatest number when None.
        progress: called after each sample (or batch of them) with the samples done and the total, None when unknown.
        state: a file that keeps what was found so far: written from time to time and at the end. When it is there,
            the samples that it knows are read, but not run again. A folder keeps one such file for each model and
            method.
        first: of how many samples the result is to hold inputs and outputs too, as far as they are not too large.
        tap_bytes: bytes of activations that are looked at as a whole at a time.
        weight_bytes: bytes of weights that are open at a time (or those of one node); None for what memory has room
            for. Where they are fewer than the model has, it is run part by part, some samples at a time.
        threads: threads of the runtime, 0 for all cores.

    Raises:
        InputError: when a sample does not fit, makes the model compute NaN, or no sample takes a branch; when the
            state belongs to another model, method or data.
    """
    method = method or MinMax()
    observation = Observation(model, method, samples.count, first)
    room = weight_bytes if weight_bytes is not None else room_for_weights(model)
    looker = Looker(model, observation.looks(), limit=tap_bytes, weight_limit=room, threads=threads)
    keeper = None
    if state is not None:
        keeper = Keeper(_checkpoint(state, model, method), observation)
    try:
        for batch in _batches(samples, looker, observation, keeper):
            _run(batch, looker, observation)
            if keeper is not None:
                keeper.save_when_due()
            if progress is not None:
                progress(observation.samples, samples.count)
    except KeyboardInterrupt:
        if keeper is not None:
            keeper.save()
        raise
    if keeper is not None:
        keeper.end()
    return observation.ranges()


def _checkpoint(state: Path, model: Model, method: Method) -> Checkpoint:
    key = {"model": fingerprint(model), "method": method_text(method)}
    if state.is_dir():
        state /= f"{hashlib.sha256(repr(sorted(key.items())).encode()).hexdigest()}.calibration"
    return Checkpoint(state, key)


def _run(batch: Sequence[Mapping[str, np.ndarray]], looker: Looker, observation: Observation) -> None:
    """Run some samples and take in what is seen."""
    for name, seen in looker.look(batch):
        observation.take(name, seen)
    for sample in batch:
        observation.take_inputs(sample)
    observation.end_samples(len(batch))


def _batches(
    samples: Samples, looker: Looker, observation: Observation, keeper: Keeper | None
) -> Iterator[list[dict[str, np.ndarray]]]:
    """Yield the samples that have not been run before, some at a time, once the data is known to be the same."""
    batch: list[dict[str, np.ndarray]] = []
    for sample in samples:
        number = observation.check(sample)
        if keeper is not None and keeper.knows(number):
            continue
        batch.append(sample)
        if len(batch) == looker.batch or (observation.notes_after(number) and not looker.reopens):
            yield batch
            batch = []
    if batch:
        yield batch
