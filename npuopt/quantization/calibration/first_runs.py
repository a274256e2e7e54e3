"""Keeps what the first calibration samples hold and make, so that nobody has to run the float model on them again."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import static_shape
from npuopt.quantization.calibration.looking import Look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.graph import Model
    from npuopt.quantization.calibration.looking import Summary
    from npuopt.quantization.ranges import Run

LARGEST_OUTPUTS = 2**25
"""Bytes of all outputs of a sample up to which they are copied out as a whole; above, that costs more than it saves."""


class FirstRuns:
    """Inputs and outputs of the first samples.

    Args:
        model: the float model.
        most: of how many samples; 0 for none.
    """

    def __init__(self, model: Model, most: int) -> None:
        outputs = dict.fromkeys(model.graph.outputs)
        sizes = [None if (shape := static_shape(value)) is None else 4 * prod(shape) for value in outputs]
        makers = [value.producer() for value in outputs]
        fit = None not in sizes and sum(size or 0 for size in sizes) <= LARGEST_OUTPUTS
        self._most = most if outputs and fit and None not in makers else 0
        self._looks = [Look(value, whole=True) for value in outputs] if self._most else []
        self._inputs: list[Mapping[str, np.ndarray]] = []
        self._outputs: dict[str, list[np.ndarray]] = {look.name: [] for look in self._looks}

    def looks(self) -> list[Look]:
        """Return what is wanted of the tensors: the outputs as a whole."""
        return self._looks

    def watches(self, name: str) -> bool:
        """Say whether the tensor is one of the outputs."""
        return name in self._outputs

    def take(self, name: str, seen: np.ndarray | Summary) -> None:
        """Take in one output of the next sample."""
        if isinstance(seen, np.ndarray) and len(self._outputs[name]) < self._most:
            self._outputs[name].append(seen)

    def take_inputs(self, sample: Mapping[str, np.ndarray]) -> None:
        """Take in the inputs of the next sample."""
        if len(self._inputs) < self._most:
            self._inputs.append(sample)

    def give_up(self) -> None:
        """Keep nothing: some samples were run earlier."""
        self._most, self._looks, self._outputs = 0, [], {}

    def result(self) -> list[Run]:
        """Return inputs and outputs of each sample; none where not all of that was seen."""
        if any(len(found) != len(self._inputs) for found in self._outputs.values()):
            return []
        return [
            (dict(sample), {name: found[index] for name, found in self._outputs.items()})
            for index, sample in enumerate(self._inputs)
        ]
