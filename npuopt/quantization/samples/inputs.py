"""What the inputs of a model take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import dims, element_type

if TYPE_CHECKING:
    from npuopt.graph import Model


@dataclass(frozen=True)
class InputSpec:
    """What one model input takes. Unknown dims are None and take any size."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether an array of `shape` is one sample of this input."""
        return len(shape) == len(self.shape) and all(
            wanted is None or wanted == size for wanted, size in zip(self.shape, shape, strict=True)
        )

    def describe(self) -> str:
        """Write the spec as a person would: float32[1, 3, 224, 224]."""
        return f"{self.dtype}[{', '.join('?' if size is None else str(size) for size in self.shape)}]"

    def check_dtype(self, given: np.dtype, where: str) -> None:
        """Raise InputError unless `given` widens to the input's type without loss and without changing its kind."""
        if given.kind != self.dtype.kind or not np.can_cast(given, self.dtype, "safe"):
            raise InputError(
                f"{given} does not fit {self.describe()}", where=where, hint=f"save it with .astype('{self.dtype}')"
            )


def input_specs(model: Model) -> tuple[InputSpec, ...]:
    """Return what each graph input of `model` takes, in order."""
    specs: list[InputSpec] = []
    for value in model.graph.inputs:
        dtype = element_type(value)
        shape = dims(value)
        if dtype is None or shape is None:
            raise InputError("the input has no known type or rank", where=value.name or "")
        sizes = tuple(size if isinstance(size, int) else None for size in shape)
        specs.append(InputSpec(value.name or "", sizes, np.dtype(dtype.numpy())))
    return tuple(specs)
