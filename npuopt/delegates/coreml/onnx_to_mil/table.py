# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; only the worker imports this file.
"""The table of emitters, and what an emitter is given."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813 -- the vendor's name for it everywhere

Value: TypeAlias = Any
"""A MIL variable, a numpy array, or what the vendor's functions take beside them; none of it has public types."""
EMITTERS: dict = {}
INT32 = np.iinfo(np.int32)


@dataclass
class Node:
    """One ONNX node with its inputs resolved: MIL variables, numpy arrays for constants, None where left out."""

    name: str
    op_type: str
    inputs: list
    outputs: list
    attributes: dict = field(default_factory=dict)

    def get(self, name: str, default: Value = None) -> Value:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def input(self, index: int) -> Value:
        """Return an input, or None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def fixed(self, index: int, default: Value = None) -> Value:
        """Return a constant input as a list of numbers.

        Raises:
            ValueError: it is known at run time only.
        """
        value = self.input(index)
        if value is None:
            return default
        array = constant(value)
        if array is None:
            raise ValueError(f"input {index} of {self.op_type} {self.name} is not constant")
        return array.reshape(-1).tolist()


def emits(*op_types: str) -> Callable:
    """Enter a function into the table: it takes a Node and returns its output or the list of them."""

    def enter(function: Callable) -> Callable:
        for op_type in op_types:
            EMITTERS[op_type] = function
        return function

    return enter


def constant(value: Value) -> Value:
    """Return the value of an array or of a MIL constant, or None."""
    if isinstance(value, np.ndarray):
        return value
    known = getattr(value, "val", None)
    return None if known is None else np.asarray(known)


def variable(value: Value) -> Value:
    """Return a MIL variable; an array becomes a constant."""
    return mb.const(val=value) if isinstance(value, np.ndarray) else value


def narrowed(array: np.ndarray) -> np.ndarray:
    """Return an array in a type that MIL has. Ends such as Slice's INT64_MAX are clipped, not wrapped around."""
    if array.dtype in (np.int64, np.uint64, np.uint32):
        return np.clip(array, INT32.min, INT32.max).astype(np.int32)
    return array.astype(np.float32) if array.dtype in (np.float64, np.float16) else array


def is_integer(value: Value) -> bool:
    """Say whether a value holds integers."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "iu"
    return "int" in str(value.dtype.__name__ if isinstance(value.dtype, type) else value.dtype)


def rank(value: Value) -> int:
    """Return the number of dimensions."""
    return len(value.shape)
