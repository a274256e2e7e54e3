"""`--verify final`: numbers of the finished model against those of the file that it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from npuopt.errors import InputError, InternalError
from npuopt.graph import Session, dims, load, static_shape
from npuopt.graph.seeded import seeded_inputs
from npuopt.verify.each import differences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from npuopt.graph import Model

    Arrays = Mapping[str, np.ndarray]

TRIAL_SIZES = (2, 1, 8, 16)
"""For dims that nobody gave a size: the first that the source runs with."""

TOLERANCE = 1e-3
"""Of floats, relative to the output's largest value: ten times what one pass may do, since many add up."""

SAMPLES = 2

ENOUGH_NUMBERS = 1024
"""Of each output, by which its distance from a reference is known well: a thousand errors average to a few percent."""

OUTPUT_BYTES = 512 * 2**20
"""Of outputs that are held to be compared: those of a language model take a megabyte for each token."""


@dataclass(frozen=True)
class FinalComparison:
    """What came of comparing the finished model with its source.

    Attributes:
        difference: the largest, relative to the largest value of the output; None where nothing was compared.
        why: why nothing was compared, empty otherwise.
    """

    difference: float | None
    why: str = ""

    def __str__(self) -> str:
        if self.difference is None:
            return f"numbers not compared with the source: {self.why}"
        return f"numbers compared with the source: the largest difference is {self.difference:.1e} of an output's range"


def compare_with_source(source: Path, made: Model, sizes: Mapping[str, int]) -> FinalComparison:
    """Run both models on seeded inputs and compare the outputs that both have.

    Args:
        source: the ONNX file.
        made: what became of it; it may lack inputs of the source.
        sizes: of symbolic dims of the source; others are tried.

    Raises:
        InternalError: when `made` does not run, or gives other numbers where the source gives the same twice.
    """
    model = load(source)
    known = {value.name for value in model.graph.inputs}
    added = [value.name for value in made.graph.inputs if value.name not in known and not value.is_initializer()]
    if added:
        return FinalComparison(None, f"the result takes {added[0]!r}, which the source does not")
    try:
        feeds, reference = _run_source(source, model, sizes)
    except InputError as error:
        return FinalComparison(None, str(error))
    try:
        session = Session(made)
        got = [session.run(feed) for feed in feeds]
    except InputError as error:
        raise InternalError(
            f"the result does not run: {error}", hint="report it; `npuopt bisect` finds the pass and the node"
        ) from error
    largest = 0.0
    for output, difference, allowed in differences(reference, got, TOLERANCE):
        if not difference <= allowed:
            _refuse(source, feeds, reference, output, difference)
            return FinalComparison(None, f"the source does not give the same {output!r} twice")
        largest = max(largest, difference)
    return FinalComparison(largest)


def _run_source(source: Path, model: Model, sizes: Mapping[str, int]) -> tuple[Sequence[Arrays], Sequence[Arrays]]:
    """Return inputs that the source runs on, and its outputs."""
    session = Session(source)
    failures: list[InputError] = []
    for all_sizes in trial_sizes(model, sizes):
        try:
            feeds = [seeded_inputs(model, seed, all_sizes) for seed in range(SAMPLES)]
            return feeds, [session.run(feed) for feed in feeds]
        except InputError as error:
            failures.append(error)
    raise failures[0]


def trial_sizes(model: Model, sizes: Mapping[str, int]) -> Iterator[Mapping[str, int]]:
    """Yield sizes for all symbolic dims of a model's inputs: those given, and the same trial size for every other."""
    free: set[str] = set()
    for value in model.graph.inputs:
        for axis, dim in enumerate(dims(value) or ()):
            place = f"{value.name}:{axis}"
            if not isinstance(dim, int) and place not in sizes and dim not in sizes:
                free.add(dim or place)
    for size in TRIAL_SIZES if free else (0,):
        yield {**dict.fromkeys(free, size), **sizes}


def held_samples(model: Model, wanted: int, limit: int = OUTPUT_BYTES) -> int:
    """Return of how many samples, up to `wanted` and at least one, a model's outputs may be held.

    Outputs of unknown shape count for nothing.
    """
    size = sum(4 * prod(static_shape(value) or (0,)) for value in model.graph.outputs)
    return max(1, min(wanted, limit // size)) if size else wanted


def telling_samples(outputs: Sequence[Arrays]) -> int:
    """Return how many samples tell enough: at least `SAMPLES`, or all where each output has few numbers in them.

    Running a quantized model without optimizations takes longer than the float one: weights are dequantized each time.
    """
    fewest = min((array.size for sample in outputs for array in sample.values()), default=0)
    needed = -(-ENOUGH_NUMBERS // fewest) if fewest else len(outputs)
    return min(len(outputs), max(SAMPLES, needed))


def _refuse(source: Path, feeds: Sequence[Arrays], reference: Sequence[Arrays], output: str, difference: float) -> None:
    """Raise, unless the source itself gives another output when it runs again, as what draws at random does."""
    session = Session(source)
    again = [[session.run(feed) for feed in feeds] for _ in range(2)][-1]
    for name, moved, allowed in differences(reference, again, TOLERANCE):
        if name == output and not moved <= allowed:
            return
    raise InternalError(
        f"output {output!r} of the result differs from the source's by {difference:.1e} of its range",
        where=str(source),
        hint="report it; `npuopt bisect` finds the pass and the node, `--verify off` writes the result all the same",
    )
