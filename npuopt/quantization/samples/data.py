"""Calibration data: wherever it comes from, a stream of dicts with one array per model input."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from npuopt.errors import InputError, UsageError
from npuopt.graph.seeded import seeded_inputs
from npuopt.quantization.samples.archives import ArchiveSource
from npuopt.quantization.samples.callables import FunctionSource, ReaderSource, looks_like_function
from npuopt.quantization.samples.inputs import InputSpec, input_specs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from npuopt.graph import Model


RANDOM = "random"
"""Instead of data: numbers that are drawn, to try things out."""

RANDOM_SAMPLES = 32


class Source(Protocol):
    """Where samples come from; iterating starts again from the first one."""

    count: int | None
    """Number of samples, or None when only reading them tells."""
    names: frozenset[str] | None
    """The inputs that are there, or None when only reading them tells."""

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray]]:
        """Yield one sample after the other, never holding more than one."""
        ...


class Samples:
    """Calibration samples that fit a model, checked one by one as they are read.

    Iterating yields dicts of exactly the model's inputs, and may be done again from the start.

    Args:
        inputs: what the model takes.
        source: where the samples come from.
        name: the source's name for messages.

    Attributes:
        count: number of samples, or None when only reading them tells.
        notes: sentences on what was ignored, known so far.

    Raises:
        InputError: at once for what the headers tell (inputs missing, wrong shape or type, no samples), on
            iteration for the rest (NaN, infinity, a damaged file, a function that raises).
    """

    def __init__(self, inputs: tuple[InputSpec, ...], source: Source, name: str) -> None:
        self.inputs = inputs
        self.name = name
        self.count = source.count
        self.notes: list[str] = []
        self._source = source
        if source.names is not None:
            self._check_names(source.names)
        if source.count == 0:
            raise self._no_samples()

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the samples in order."""
        index = -1
        for index, sample in enumerate(self._source):
            self._check_names(frozenset(sample))
            yield {spec.name: self._checked(spec, sample[spec.name], index) for spec in self.inputs}
        if index < 0:
            raise self._no_samples()

    def first(self, count: int) -> Samples:
        """Return the first `count` of them."""
        return Samples(self.inputs, _First(self._source, count), self.name)

    def spread(self, count: int) -> list[dict[str, np.ndarray]]:
        """Return up to `count` of them, from all over: neighbours are often alike, as views of one photograph are.

        Those that cannot be counted ahead give the first ones.
        """
        if self.count is None or self.count <= count:
            return list(islice(self, count))
        chosen = {number * self.count // count for number in range(count)}
        return [sample for number, sample in enumerate(self) if number in chosen]

    def _no_samples(self) -> InputError:
        return InputError("there are no samples in it", where=self.name, hint="give at least one")

    def _check_names(self, given: frozenset[str]) -> None:
        """Raise InputError when an input is missing; note, once, what belongs to no input."""
        wanted = [spec.name for spec in self.inputs]
        missing = [name for name in wanted if name not in given]
        extra = sorted(given.difference(wanted))
        if missing:
            close = get_close_matches(missing[0], extra, n=1)
            hint = (
                f"did you mean {missing[0]} by {close[0]}?" if close else f"it has {', '.join(sorted(given)) or 'none'}"
            )
            raise InputError(
                f"samples lack the input{'s' * (len(missing) > 1)} {', '.join(missing)}", where=self.name, hint=hint
            )
        for name in extra:
            note = f"{name} in {self.name} is no input of the model (any more) and is ignored"
            if note not in self.notes:
                self.notes.append(note)

    def _checked(self, spec: InputSpec, array: object, index: int) -> np.ndarray:
        """Return the array in the model's type, or raise InputError."""
        where = f"{self.name}, sample {index}, input {spec.name}"
        if not isinstance(array, np.ndarray):
            raise InputError(f"{type(array).__name__} instead of a numpy array", where=where)
        array = cast("np.ndarray", array)
        if not spec.fits(array.shape):
            raise InputError(f"shape {list(array.shape)} does not fit {spec.describe()}", where=where)
        spec.check_dtype(array.dtype, where)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = "NaN" if np.isnan(array).any() else "infinity"
            raise InputError(f"there is {bad} in it", where=where, hint="calibrate with finite numbers only")
        return np.ascontiguousarray(array, dtype=spec.dtype)


class _First:
    """The first samples of a source."""

    def __init__(self, source: Source, count: int) -> None:
        self._source = source
        self._most = count
        self.count = None if source.count is None else min(source.count, count)
        self.names = source.names

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray]]:
        """Yield the first ones."""
        yield from islice(self._source, self._most)


class RandomSource:
    """Seeded numbers that fit a model's inputs: floats from a normal law, ids within the tables that they index."""

    def __init__(self, model: Model) -> None:
        self.count: int | None = RANDOM_SAMPLES
        self.names: frozenset[str] | None = None
        self._model = model

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray]]:
        """Yield the same samples each time."""
        return (seeded_inputs(self._model, seed) for seed in range(RANDOM_SAMPLES))


def open_samples(spec: str | Path | object, model: Model) -> Samples:
    """Open calibration data for a model whose input shapes are final.

    Args:
        spec: an `.npz` file, a folder of `.npz` files (read in the order of their names), `package.module:function`
            that returns an iterable of dicts, or a reader with ONNX Runtime's `get_next()`. In an `.npz`, each array
            is named as the input it is for and its leading axis counts the samples: [samples, *input shape], or
            [samples, ...] for an input of shape [1, ...]. `random` draws numbers (a file of that name: `./random`).
        model: its graph inputs say what a sample must hold.

    Raises:
        InputError: when the data is not there or does not fit.
        UsageError: when `spec` is none of these.
    """
    inputs = input_specs(model)
    if hasattr(spec, "get_next"):
        return Samples(inputs, ReaderSource(spec), type(spec).__name__)
    if not isinstance(spec, str | Path):
        raise UsageError(f"calibration data cannot be read from a {type(spec).__name__}")
    path = Path(spec)
    name = str(spec)
    if name == RANDOM:
        return Samples(inputs, RandomSource(model), "random numbers")
    if path.is_file():
        return Samples(inputs, ArchiveSource([path], inputs), name)
    if path.is_dir():
        return Samples(inputs, ArchiveSource(sorted(path.glob("*.npz")), inputs), name)
    if looks_like_function(name):
        return Samples(inputs, FunctionSource(name), name)
    raise InputError(
        "calibration data not found",
        where=name,
        hint="give an .npz file, a folder of them, package.module:function, or random",
    )
