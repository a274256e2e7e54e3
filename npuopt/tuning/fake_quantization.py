"""How a student holds its numbers: rounded to its encodings, with gradients as if they were not, and scales that learn.

Rounding passes gradients straight through; what saturates passes none. The gradient of a scale follows from that, as
in Esser et al., "Learned Step Size Quantization", ICLR 2020, equation 3. Scales are learned as logarithms: a step of
the optimizer changes each by a share of itself, and none becomes negative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.quantization.arithmetic import SMALLEST_SCALE, limits
from npuopt.quantization.roles import is_parameter
from npuopt.tuning.torch_api import torch

if TYPE_CHECKING:
    from collections.abc import Collection

    from npuopt.graph import Node
    from npuopt.quantization.encodings import Encoding, Encodings
    from npuopt.tuning.torch_api import Tensor

MOST_LEARNED_BITS = 8
"""Types with more bits have steps so fine that there is nothing to learn."""


class FakeQuantization:
    """Holds every tensor that has an encoding in the numbers that the encoding can represent.

    Biases in 32 bits are left alone: their steps are those of the products that they are added to.

    Args:
        encodings: of the model.
        fixed: encodings that the target binds ops to; their scales do not learn.
    """

    def __init__(self, encodings: Encodings, fixed: Collection[Encoding] = ()) -> None:
        self._encodings = encodings
        self._fixed = frozenset(fixed)
        self._logarithms: dict[Encoding, Tensor] = {}

    @property
    def scales(self) -> list[Tensor]:
        """What learns: logarithms of scales. Equal encodings have them in common: ops that share one still do."""
        everything = [*self._encodings.tensors.values()]
        everything += [encoding for by_index in self._encodings.uses.values() for encoding in by_index.values()]
        return [self._logarithm(encoding) for encoding in dict.fromkeys(everything) if self._learns(encoding)]

    def weight(self, node: Node, index: int, name: str, tensor: Tensor) -> Tensor:
        """Return the constant as `node` reads it."""
        encoding = self._encodings.read_by(node.outputs[0].name or "", index, name)
        return tensor if encoding is None or is_parameter(node, index) else self._held(tensor, encoding)

    def made(self, name: str, tensor: Tensor) -> Tensor:
        """Return the tensor as it is held."""
        encoding = self._encodings.tensors.get(name)
        return tensor if encoding is None else self._held(tensor, encoding)

    def read(self, node: Node, index: int, name: str, tensor: Tensor) -> Tensor:
        """Return the held tensor as `node` reads it, which may be through an encoding of its own."""
        del name
        encoding = self._encodings.uses.get(node.outputs[0].name or "", {}).get(index)
        return tensor if encoding is None else self._held(tensor, encoding)

    def learned(self, encoding: Encoding) -> Encoding:
        """Return the encoding with the scales that it has by now."""
        if encoding not in self._logarithms:
            return encoding
        scales = self._logarithms[encoding].detach().exp().numpy().astype(np.float32)
        scales = np.maximum(scales, np.float32(SMALLEST_SCALE))
        return encoding.model_copy(update={"scale": tuple(scales.reshape(-1).astype(np.float64).tolist())})

    def _learns(self, encoding: Encoding) -> bool:
        return int(encoding.dtype.lstrip("uint")) <= MOST_LEARNED_BITS and encoding not in self._fixed

    def _logarithm(self, encoding: Encoding) -> Tensor:
        if encoding not in self._logarithms:
            scale = torch.tensor(encoding.scale, dtype=torch.float64).log().to(torch.float32)
            self._logarithms[encoding] = scale.requires_grad_()
        return self._logarithms[encoding]

    def _held(self, tensor: Tensor, encoding: Encoding) -> Tensor:
        if encoding.dtype == "int32" or not tensor.dtype.is_floating_point:
            return tensor
        if self._learns(encoding):
            scale = self._logarithm(encoding).exp()
        else:
            scale = torch.tensor(encoding.scale, dtype=torch.float32)
        zero_point = torch.tensor(encoding.zero_point, dtype=torch.float32)
        smallest, largest = limits(encoding.dtype)
        scale, zero_point = _along(scale, encoding.axis, tensor.ndim), _along(zero_point, encoding.axis, tensor.ndim)
        steps = tensor / scale
        rounded = steps + (torch.round(steps) - steps).detach()
        return (torch.clamp(rounded + zero_point, smallest, largest) - zero_point) * scale


def _along(numbers: Tensor, axis: int | None, rank: int) -> Tensor:
    """Shape one number per channel so that it lines up with the channel axis."""
    if axis is None or numbers.numel() == 1:
        return numbers.reshape(())
    return numbers.reshape([-1 if at == axis else 1 for at in range(rank)])
