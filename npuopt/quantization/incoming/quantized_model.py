"""What a quantized model brings along: the encodings that its QuantizeLinear and DequantizeLinear hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
from pydantic import ValidationError

from npuopt.errors import InputError
from npuopt.graph import attribute, constant, input_at, label, rank
from npuopt.quantization.arithmetic import STORAGE, limits
from npuopt.quantization.encodings import Encoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Node
    from npuopt.quantization.arithmetic import IntegerType

TYPES: dict[np.dtype, IntegerType] = {storage: name for name, storage in STORAGE.items()}


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


def encoding_at(node: Node) -> Encoding | str:
    """Return the encoding that a QuantizeLinear or DequantizeLinear holds, or why it is none of those there are.

    Raises:
        InputError: when a scale is not positive and finite, or a zero point outside its type.
    """
    stored = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
    kind = None if stored is None or stored.dtype is None else TYPES.get(stored.dtype.numpy())
    if kind is None:
        return "its integers are of a type that has no encoding"
    if attribute(node, "block_size", 0):
        return "it is quantized in blocks"
    scale, zero_value = constant(input_at(node, 1)), input_at(node, 2)
    zero_point = np.zeros((), np.int64) if zero_value is None else constant(zero_value)
    if scale is None or zero_point is None:
        return "its scale or zero point is given at run time"
    if scale.dtype != np.float32:
        return f"its scale is {scale.dtype.name}; float32 is followed"
    depth = rank(node.inputs[0])
    axis = attribute(node, "axis", 1)
    if scale.size > 1 and (scale.ndim > 1 or depth is None):
        return "its scales have more than one axis, or its input is of unknown rank"
    held = {
        "dtype": kind,
        "scale": tuple(scale.reshape(-1).tolist()),
        "zero_point": tuple(zero_point.astype(np.int64).reshape(-1).tolist()),
        "axis": None if scale.size == 1 else axis % cast("int", depth),
    }
    try:
        found = Encoding.model_validate(held)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{'.'.join(map(str, first['loc'])) or 'encoding'}: {first['msg']}", where=f"node {label(node)}"
        ) from error
    return one_zero_point(found)


def one_zero_point(encoding: Encoding) -> Encoding:
    """Return the encoding with one zero point where all its channels have the same."""
    if len(set(encoding.zero_point)) > 1:
        return encoding
    return encoding.model_copy(update={"zero_point": encoding.zero_point[:1]})


def _most_common(numbers: Iterator[int]) -> int:
    counted = Counter(numbers).most_common(1)
    return counted[0][0] if counted else 0
