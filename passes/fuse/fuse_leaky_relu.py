from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.passes.fuse.activation import ActivationFusion
from npuopt.passes.fuse.slopes import LEAKY, slopes_of
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Editor, Match, Value


@dataclass(frozen=True)
class FuseLeakyRelu(ActivationFusion):
    """A Relu with one slope for negative values, however spelled, becomes LeakyRelu.

    `Where(x > 0, x, slope * x) -> LeakyRelu<alpha = slope>(x)`, `Relu(x) - slope * Relu(-x)`, `Max(x, slope * x)` for
    slopes between 0 and 1

    Left alone: an inner value that is read elsewhere or is a graph output; a slope given at run time, or not finite;
    several slopes, which are for fuse-prelu; a Max with a slope above 1 or below 0, which bends the other way.
    """

    name = "fuse-leaky-relu"
    op_types = ("Where", "Sub", "Add", "Max")
    patterns = (LEAKY,)

    def emit(self, found: Match, x: Value, edit: Editor) -> Value | Declined:
        """Emit the LeakyRelu."""
        slopes = slopes_of(found)
        if isinstance(slopes, Declined):
            return slopes
        if slopes.size != 1:
            return Declined(f"it has slopes of shape {list(slopes.shape)}")
        return edit.emit("LeakyRelu", [x], {"alpha": float(slopes.reshape(()))}, before=found.root)
