"""How a student holds its numbers: rounded to its encodings, with gradients as if they were not, and scales that learn.

Rounding passes gradients straight through; what saturates passes none. The gradient of a scale follows from that, as
in Esser et al., "Learned Step Size Quantization", ICLR 2020, equation 3. Scales are learned as logarithms: a step of
the optimizer changes each by a share of itself, and none becomes negative.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from npuopt.quantization.arithmetic import SMALLEST_SCALE, limits
from npuopt.quantization.roles import is_parameter
from npuopt.tuning.torch_api import torch

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

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
        self._rounded: dict[tuple[str, Encoding], tuple[Tensor, Tensor]] | None = None

    @contextmanager
    def rounding_weights_once(self) -> Generator[None]:
        """Round each weight once for all samples of a step; when it is over, their gradients go on to what learns."""
        self._rounded = {}
        yield
        pairs = [pair for pair in self._rounded.values() if pair[0].requires_grad and pair[1].grad is not None]
        self._rounded = None
        torch.autograd.backward([held for held, _ in pairs], [leaf.grad for _, leaf in pairs])

    @property
    def scales(self) -> list[Tensor]:
        """What learns: logarithms of scales. Equal encodings have them in common: ops that share one still do."""
        everything = [*self._encodings.tensors.values()]
        everything += [encoding for by_index in self._encodings.uses.values() for encoding in by_index.values()]
        return [self._logarithm(encoding) for encoding in dict.fromkeys(everything) if self._learns(encoding)]

    def weight(self, node: Node, index: int, name: str, tensor: Tensor) -> Tensor:
        """Return the constant as `node` reads it."""
        encoding = self._encodings.read_by(node.outputs[0].name or "", index, name)
        if encoding is None or is_parameter(node, index):
            return tensor
        if self._rounded is None:
            return self._held(tensor, encoding)
        key = (name, encoding)
        if key not in self._rounded:
            held = self._held(tensor, encoding)
            self._rounded[key] = held, held.detach().requires_grad_()
        return self._rounded[key][1]

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
        return _Rounding.apply(tensor, scale, smallest - zero_point, largest - zero_point)


class _Rounding(torch.autograd.Function):
    """Rounds to whole steps within bounds; with its gradients in one, as autograd would keep every step on the way."""

    @staticmethod
    def forward(context: Any, tensor: Tensor, scale: Tensor, smallest: Tensor, largest: Tensor) -> Tensor:  # noqa: ANN401 -- torch's own object
        """Return the tensor as its integers give it back."""
        steps = tensor / scale
        integers = torch.round(steps).clamp_(smallest, largest)
        context.save_for_backward((integers - steps).clamp_(-1, 1), integers, scale)  # finite where steps are not
        return integers * scale

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None]:  # noqa: ANN401 -- as above
        """Pass gradients through what did not saturate, and on to the scale."""
        offset, integers, scale = context.saved_tensors
        saturated = offset.abs().gt_(1 / 2)  # as 0 and 1 in float: masks of bool take torch twice as long
        of_scale = None
        if context.needs_input_grad[1]:
            of_scale = torch.lerp(offset, integers, saturated).mul_(gradient).sum_to_size(scale.shape)
        return torch.addcmul(gradient, gradient, saturated, value=-1), of_scale, None, None


def _along(numbers: Tensor, axis: int | None, rank: int) -> Tensor:
    """Shape one number per channel so that it lines up with the channel axis."""
    if axis is None or numbers.numel() == 1:
        return numbers.reshape(())
    return numbers.reshape([-1 if at == axis else 1 for at in range(rank)])
