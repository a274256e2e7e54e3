"""What a quantized model brings along: the encodings that its QuantizeLinear and DequantizeLinear hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from npuopt.quantization.arithmetic import limits
from npuopt.quantization.encodings import Encoding

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Incoming:
    """Encodings by the names of the source model's float tensors.

    Attributes:
        tensors: how all readers of a tensor see it.
        uses: how single readers see a tensor that others read otherwise or in float, by the reader's output (and
            the outputs of what follows it alone, which it may be fused with), then by the tensor.
        integers: constants as they were held.
        constants: names of all constants among the tensors.
        of_floats: the model is a float one, and the encodings came beside it.
    """

    tensors: dict[str, Encoding] = field(default_factory=dict[str, Encoding])
    uses: dict[str, dict[str, Encoding]] = field(default_factory=dict[str, dict[str, Encoding]])
    integers: dict[str, np.ndarray] = field(default_factory=dict[str, "np.ndarray"])
    constants: set[str] = field(default_factory=set[str])
    of_floats: bool = False

    @property
    def activation_bits(self) -> int:
        """The bits that most activations have; 0 where none has an encoding."""
        return _most_common(bits_of(held) for name, held in self._all() if name not in self.constants)

    @property
    def weight_bits(self) -> int:
        """The bits that most constants but biases have; 0 where none has an encoding."""
        return _most_common(
            bits_of(held) for name, held in self._all() if name in self.constants and held.dtype != "int32"
        )

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """The least and greatest number that the integers hold of each activation."""
        return {name: held.range for name, held in self.tensors.items() if name not in self.constants}

    def _all(self) -> Iterator[tuple[str, Encoding]]:
        yield from self.tensors.items()
        for by_tensor in self.uses.values():
            yield from by_tensor.items()


def bits_of(encoding: Encoding) -> int:
    """Return how many bits each integer has."""
    smallest, largest = limits(encoding.dtype)
    return (largest - smallest).bit_length()


def _most_common(numbers: Iterator[int]) -> int:
    counted = Counter(numbers).most_common(1)
    return counted[0][0] if counted else 0
