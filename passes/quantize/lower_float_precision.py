"""Lets a model compute in a float type of 16 bits, with what needs float32 left in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from npuopt.errors import UsageError
from npuopt.passes.quantize.half_precision_writing import HalfPrecisionWriting
from npuopt.pipeline import Pass, Report
from npuopt.quantization.half_precision.formats import HALF_FORMATS

if TYPE_CHECKING:
    from npuopt.graph import Model
    from npuopt.target import Target


@dataclass(frozen=True)
class LowerFloatPrecision(Pass):
    """Compute in float16 or bfloat16 instead of float32, with Casts where neighbours differ.

    `Add(x, w) -> Mul` becomes `Cast<float16>(x) -> Add(.., w as float16) -> Mul`; each value is cast at most once each
    way, for all that read it so. Weights are stored once, in 16 bits. Graph inputs and outputs keep their type.

    With `between_casts`, for runtimes that have no kernels for the type, every node computes in float32 and what it
    makes goes through a pair of Casts: the same numbers as of hardware that sums up in float32 and rounds each result.

    Left alone: nodes in `islands`; integers and all that computes with them; ops that ONNX does not define in the
    type; branches and loops, which read float32; constants beyond the range become the greatest number of the type.

    Attributes:
        dtype: float16 or bfloat16.
        islands: nodes that stay in float32, by the name of what they make first, each with the reason.
        between_casts: compute in float32, and round what each node makes.
    """

    name: ClassVar[str] = "lower-float-precision"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    dtype: Literal["float16", "bfloat16"] = "float16"
    islands: Mapping[str, str] = field(default_factory=dict[str, str])
    between_casts: bool = False

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Write the model in the type."""
        del target  # what stays in float32 is given
        if self.dtype not in HALF_FORMATS:
            raise UsageError(f"{self.dtype!r} is no float type of 16 bits", hint=f"it is {' or '.join(HALF_FORMATS)}")
        report = Report(self.name)
        writing = HalfPrecisionWriting(model, HALF_FORMATS[self.dtype], self.islands, report)
        writing.write(between_casts=self.between_casts)
        return report
