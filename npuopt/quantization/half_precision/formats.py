"""The two float types of 16 bits: what they hold, and how numbers are rounded to them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal, TypeAlias

import ml_dtypes
import numpy as np

from npuopt.graph import DataType

if TYPE_CHECKING:
    from typing import Any

    from npuopt.target.schema import Scheme

HalfType: TypeAlias = Literal["float16", "bfloat16"]


@dataclass(frozen=True)
class HalfFormat:
    """A float type of 16 bits.

    Attributes:
        name: as ONNX and descriptors write it.
        data_type: the IR's.
        storage: numpy's.
        largest: its greatest finite number.
        least_db: signal to noise below which a node's rounding is not left to it. Rounding alone leaves 73 dB
            (float16, 11 bits of mantissa) or 55 dB (bfloat16, 8 bits); what is 30 dB below has lost five bits more.
    """

    name: HalfType
    data_type: DataType
    storage: np.dtype[Any]
    largest: float
    least_db: float

    def rounded(self, array: np.ndarray) -> np.ndarray:
        """Round to the nearest number of the type; finite numbers beyond its range become the greatest it has."""
        wide = np.asarray(array, np.float32)
        limited = np.where(np.isfinite(wide), np.clip(wide, -self.largest, self.largest), wide)
        return limited.astype(self.storage)

    def clamps(self, array: np.ndarray) -> bool:
        """Say whether there is a finite number beyond the range."""
        return bool(np.any(np.isfinite(array) & (np.abs(array) > self.largest)))

    def vanishes(self, array: np.ndarray) -> bool:
        """Say whether there are numbers other than zero, and all of them become zero."""
        wide = np.asarray(array, np.float32)
        return bool(np.any(wide)) and not np.any(self.rounded(wide).astype(np.float32))

    def rounding_db(self, array: np.ndarray) -> float:
        """Return the signal to noise ratio of rounding finite numbers, in dB; infinite where nothing is lost."""
        wide = np.asarray(array, np.float64).reshape(-1)
        wide = wide[np.isfinite(wide)]
        noise = self.rounded(wide).astype(np.float64) - wide
        lost = float(noise @ noise)
        return 10 * float(np.log10(float(wide @ wide) / lost)) if lost else inf


HALF_FORMATS: dict[HalfType, HalfFormat] = {
    "float16": HalfFormat("float16", DataType.FLOAT16, np.dtype(np.float16), 65504.0, 43.0),
    "bfloat16": HalfFormat(
        "bfloat16",
        DataType.BFLOAT16,
        np.dtype(ml_dtypes.bfloat16),
        (2 - 2.0**-7) * 2.0**127,
        25.0,
    ),
}


def half_format(scheme: Scheme) -> HalfFormat | None:
    """Return the type of 16 bits that tensors of a model in `scheme` have, or None where they have no such type.

    Where a compiler takes float32 tensors only and rounds them by itself, there is none.
    """
    if scheme.is_weight_only or scheme.activation not in scheme.tensor_types:
        return None
    return next((one for name, one in HALF_FORMATS.items() if name == scheme.activation), None)
