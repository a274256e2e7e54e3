"""What a step is: it rewrites the float model exactly, or it decides how numbers are held as integers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from npuopt.errors import InternalError
from npuopt.quantization.assignment.assign import encodings_for
from npuopt.quantization.encodings import Rewrite

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from npuopt.graph import Model
    from npuopt.quantization.assignment.constants import Fitted
    from npuopt.quantization.encodings import Encoding, Encodings
    from npuopt.quantization.ranges import Ranges
    from npuopt.quantization.rounding.round_weights import RoundedLayer
    from npuopt.quantization.samples.data import Samples
    from npuopt.target import Target

    Progress = Callable[[int, int | None], None]

__all__ = ["Applied", "FloatStep", "Held", "IntegerStep", "Rewrite", "Step", "StepRecord", "Work"]


def unheard(what: str, done: int, total: int | None) -> None:
    """Report progress to nobody."""
    del what, done, total


@dataclass(frozen=True)
class Held:
    """How a model's numbers are held so far.

    Attributes:
        encodings: of every tensor that is held as integers.
        rounded: layers whose weights are rounded otherwise than to the nearest, by the name of what they make.
    """

    encodings: Encodings
    rounded: Mapping[str, RoundedLayer] = field(default_factory=dict[str, "RoundedLayer"])


@dataclass
class Work:
    """What steps work on.

    Attributes:
        model: the float model; float steps leave it to the passes that they ask for.
        target: the chip.
        scheme: one of its integer schemes.
        samples: calibration data, or None where there is none.
        ranges: what calibration saw in the model; None before it.
        precisions: nodes that are computed in another scheme, by the name of their first output.
        alike: how tensors are held in another model that shares them, by name.
        say: told what is done, with the samples done and the total, None when unknown.
        threads: threads of the runtime, 0 for all cores.
        fitted: encodings of weights by themselves that were found so far, which steps ask for again and again.
    """

    model: Model
    target: Target
    scheme: str
    samples: Samples | None = None
    ranges: Ranges | None = None
    precisions: Mapping[str, str] = field(default_factory=dict[str, str])
    alike: Mapping[str, Encoding] = field(default_factory=dict[str, "Encoding"])
    say: Callable[[str, int, int | None], None] = unheard
    threads: int = 0
    fitted: dict[Fitted, Encoding] = field(default_factory=dict["Fitted", "Encoding"])

    def progress(self, what: str) -> Callable[[int, int | None], None]:
        """Return what to call after each sample."""
        return partial(self.say, what)

    def encodings(self, *, wide: Collection[str] = (), precisions: Mapping[str, str] | None = None) -> Encodings:
        """Choose encodings by the ranges.

        Args:
            wide: first outputs of the nodes whose weights get 16 bits where the target has them.
            precisions: instead of the work's own.
        """
        if self.ranges is None:
            raise InternalError("encodings were asked for ahead of calibration")
        chosen = self.precisions if precisions is None else precisions
        return encodings_for(
            self.model,
            self.target,
            self.scheme,
            self.ranges,
            wide=wide,
            precisions=chosen,
            alike=self.alike,
            fitted=self.fitted,
        )


@dataclass(frozen=True)
class Applied:
    """What an integer step did.

    Attributes:
        held: how numbers are held now.
        changed: how many layers or tensors it changed.
        text: what it did to them, in a few words.
    """

    held: Held
    changed: int
    text: str


@dataclass(frozen=True)
class StepRecord:
    """One step as it ran, for the manifest.

    Attributes:
        name: the step's name.
        options: with which options.
        changed: how many layers or tensors it changed.
        text: what it did, in a few words.
    """

    name: str
    options: dict[str, Any]
    changed: int
    text: str


class Step(BaseModel, ABC):
    """A step. Its fields are its options; its docstring says what it does, its source, and its measured effect.

    Attributes:
        name: kebab-case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]


class FloatStep(Step):
    """A step that rewrites the float model ahead of calibration, to the same numbers up to the rounding of floats.

    Attributes:
        serves_floats: float types of activations beside which it runs unasked too where weights alone are integers.
    """

    serves_floats: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def rewrites(self, work: Work) -> Iterable[Rewrite]:
        """Return the passes to run on `work.model`, in order, with their options."""


class IntegerStep(Step):
    """A step that decides, once there are encodings, how numbers are held.

    Attributes:
        keeps_encodings: whether it leaves the encodings as they are, so that it also runs for given ones.
        rounds_blocks: whether it also decides how weights are rounded that a weight-only scheme holds.
    """

    keeps_encodings: ClassVar[bool] = False
    rounds_blocks: ClassVar[bool] = False

    @abstractmethod
    def apply(self, work: Work, held: Held) -> Applied:
        """Return how numbers are held from here on."""
