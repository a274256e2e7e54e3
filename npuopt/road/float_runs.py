"""Samples that every form of a model is compared on, and what its float form computes on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.errors import InputError
from npuopt.quantization.samples.data import open_samples
from npuopt.road.compilation import model_runs
from npuopt.verify import seeded_inputs
from npuopt.verify.final import held_samples, trial_sizes

if TYPE_CHECKING:
    import numpy as np

    from npuopt.graph import Model
    from npuopt.road.options import CompileOptions
    from npuopt.road.preparation import Prepared

    Arrays = dict[str, np.ndarray]


def float_runs(prepared: Prepared, options: CompileOptions) -> tuple[list[Arrays], list[Arrays]]:
    """Return the samples to compare on, and what the model as it is now computes on them."""
    samples = verification_samples(prepared, options)
    return samples, model_runs(prepared.model, samples)


def verification_samples(prepared: Prepared, options: CompileOptions) -> list[Arrays]:
    """Return the first samples of the calibration data, or seeded ones where there is none."""
    count = held_samples(prepared.model, options.samples)
    if options.calibration is None:
        return _drawn(prepared.model, count)
    found: list[Arrays] = []
    for sample in open_samples(options.calibration, prepared.model):
        found.append(dict(sample))
        if len(found) == count:
            break
    return found


def _drawn(model: Model, count: int) -> list[Arrays]:
    """Draw samples; where dims are free, of the first size with which the model runs.

    Raises:
        InputError: when it runs with none.
    """
    failures: list[InputError] = []
    for sizes in trial_sizes(model, {}):
        samples = [seeded_inputs(model, seed, sizes) for seed in range(count)]
        try:
            if sizes:
                model_runs(model, samples[:1])
        except InputError as error:
            failures.append(error)
        else:
            return samples
    raise failures[0]
