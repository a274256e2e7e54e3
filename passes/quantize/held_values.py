"""Whether values are held as integers already, and what is said of their single uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from npuopt.graph import constant, input_at, is_op, producer, users
from npuopt.quantization.arithmetic import STORAGE
from npuopt.quantization.encodings import Encoding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from npuopt.graph import Model, Node, Value

Entries = TypeVar("Entries", Encoding, tuple[float, ...])


def by_use(model: Model, entries: Mapping[str, Mapping[int, Entries]]) -> Iterator[tuple[tuple[Node, int], Entries]]:
    """Yield what is said of single uses, by node and input."""
    for node in model.graph:
        if not is_op(node, "QuantizeLinear", "DequantizeLinear"):
            for index, entry in entries.get(node.outputs[0].name or "", {}).items():
                yield (node, index), entry


def is_quantized(value: Value) -> bool:
    """Say whether all that reads `value` reads integers already, or it comes from integers."""
    if producer(value, "DequantizeLinear") is not None:
        return True
    readers = users(value)
    return bool(readers) and all(reader.op_type == "QuantizeLinear" for reader in readers)


def is_held_in(value: Value, encoding: Encoding) -> bool:
    """Say whether `value` comes from integers of just this encoding."""
    maker = producer(value, "DequantizeLinear")
    if maker is None or maker.inputs[0] is None or maker.inputs[0].dtype is None:
        return False
    scale = constant(maker.inputs[1])
    zero_point = constant(input_at(maker, 2))
    same_type = maker.inputs[0].dtype.numpy() == STORAGE[encoding.dtype]
    return (
        same_type
        and scale is not None
        and zero_point is not None
        and np.array_equal(scale.reshape(-1), np.asarray(encoding.scale, np.float32))
        and bool((zero_point.reshape(-1).astype(np.int64) == np.asarray(encoding.zero_point)).all())
    )
