"""The spellings of a Relu with slopes for negative values, which fuse-leaky-relu and fuse-prelu share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Anything, Constant, Either, Number, Op, constant
from npuopt.pipeline import Declined

if TYPE_CHECKING:
    from npuopt.graph import Match

X, SLOPE = Anything("x"), Constant("slope")
SCALED = Op("Mul", X, SLOPE)
ZERO = Number(0.0)
POSITIVE = Either(Op("Greater", X, ZERO), Op("GreaterOrEqual", X, ZERO), Op("Less", ZERO, X))
NEGATIVE = Either(Op("Less", X, ZERO), Op("LessOrEqual", X, ZERO), Op("Greater", ZERO, X))
MIRRORED = Op("Relu", Op("Neg", X))
CHOSEN = Either(Op("Where", POSITIVE, X, SCALED), Op("Where", NEGATIVE, SCALED, X))
PARTED = Either(
    Op("Sub", Op("Relu", X), Op("Mul", MIRRORED, SLOPE)),
    Op("Add", Op("Relu", X), Op("Mul", Op("Neg", MIRRORED), SLOPE)),
    Op("Add", Op("Relu", X), Op("Neg", Op("Mul", MIRRORED, SLOPE))),
    Op("Add", Op("Relu", X), Op("Mul", Op("Min", X, ZERO), SLOPE)),
)
LARGER = Op("Max", X, SCALED, name="larger")
TURNED = Op("Add", Op("Relu", X), Op("Mul", MIRRORED, SLOPE), name="turned")
"""As Keras writes PReLU, with the slopes negated."""
LEAKY = Either(CHOSEN, PARTED, LARGER, TURNED)


def slopes_of(found: Match) -> np.ndarray | Declined:
    """Return the slopes, in float64 and of the constant's shape, or say why they are none."""
    known = constant(found.values["slope"])
    if known is None:
        return Declined("its slopes are not known")
    slopes = known.astype(np.float64) * (-1 if "turned" in found.nodes else 1)
    if not np.isfinite(slopes).all():
        return Declined("its slopes are not finite")
    if "larger" in found.nodes and not ((slopes >= 0) & (slopes <= 1)).all():
        return Declined("its slopes are not all between 0 and 1")
    return slopes
