from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, dims
from npuopt.passes.fuse.activation import ActivationFusion
from npuopt.passes.fuse.slopes import LEAKY, slopes_of
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Value


@dataclass(frozen=True)
class FusePrelu(ActivationFusion):
    """A Relu with several slopes for negative values, however spelled, becomes PRelu.

    `Relu(x) - slopes * Relu(-x) -> PRelu(x, slopes)`, `Where(x > 0, x, slopes * x)`, `Max(x, slopes * x)` for slopes
    between 0 and 1

    Left alone: an inner value that is read elsewhere or is a graph output; slopes given at run time, or not finite;
    one slope, which is for fuse-leaky-relu; slopes that stretch x; a Max with slopes above 1 or below 0, which bends
    the other way.
    """

    name = "fuse-prelu"
    op_types = ("Where", "Sub", "Add", "Max")
    patterns = (LEAKY,)

    def emit(self, found: Match, x: Value, edit: Editor) -> Value | Declined:
        """Emit the PRelu."""
        slopes, shape = slopes_of(found), dims(x) or ()
        if isinstance(slopes, Declined):
            return slopes
        if slopes.size == 1:
            return Declined("it has one slope")
        if any(size not in (1, whole) for size, whole in zip(reversed(slopes.shape), reversed(shape), strict=False)):
            return Declined(f"its slopes of shape {list(slopes.shape)} may stretch {x.name!r}")
        build = Builder(edit, found.root)
        build.type = x.dtype
        return build("PRelu", x, build.array(slopes))
