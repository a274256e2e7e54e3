"""One-op models as data: what an op gets, before any scheme is put on it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import onnx

if TYPE_CHECKING:
    from collections.abc import Mapping

Attribute: TypeAlias = int | float | str | tuple[int, ...] | tuple[float, ...]
OPSET = 24


@dataclass(frozen=True)
class Data:
    """A run-time input with values drawn between `low` and `high` (for integers, `high` excluded).

    The default range is not symmetric, so that no mean or sum is zero but for rounding.
    """

    shape: tuple[int, ...]
    low: float = -2.5
    high: float = 3.5
    dtype: str = "float32"


@dataclass(frozen=True)
class Parameter:
    """A constant float tensor; `channel` is the axis along which weights may have a scale each."""

    shape: tuple[int, ...]
    role: Literal["weight", "bias", "activation"] = "weight"
    channel: int | None = None
    low: float = -1.0
    high: float = 1.0
    dtype: str = "float32"


@dataclass(frozen=True)
class Fixed:
    """An input whose value matters: axes, shapes, bounds.

    Attributes:
        value: a number is a scalar, a tuple a vector or, with `shape`, more.
        dtype: its element type.
        shape: see `value`.
        run_time: it is given at run time, so that a compiler cannot see its value.
    """

    value: int | float | bool | tuple[int, ...] | tuple[float, ...] | tuple[bool, ...]
    dtype: str = "int64"
    shape: tuple[int, ...] | None = None
    run_time: bool = False


Input: TypeAlias = Data | Parameter | Fixed | None


@dataclass(frozen=True)
class Case:
    """One node to ask about.

    Attributes:
        op_type: its type.
        inputs: its inputs; None for one that is left out.
        attributes: its attributes.
        outputs: how many outputs it has.
        moves: it only moves data, so that its output can have its input's encoding.
        domain: of the op.
    """

    op_type: str
    inputs: tuple[Input, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])
    outputs: int = 1
    moves: bool = False
    domain: str = ""

    @property
    def name(self) -> str:
        """The op's name in descriptors."""
        return f"{self.domain}::{self.op_type}" if self.domain else self.op_type

    @property
    def label(self) -> str:
        """What distinguishes this case, for people and as a key."""
        inputs = ", ".join(_show(item) for item in self.inputs)
        attributes = ", ".join(f"{name}={_value(value)}" for name, value in self.attributes.items())
        made = f" -> {self.outputs}" if self.outputs > 1 else ""
        return f"{self.name}({inputs}){made}" + (f" {attributes}" if attributes else "")

    @property
    def has_float_data(self) -> bool:
        """Say whether a scheme matters to it."""
        return any(isinstance(item, Data | Parameter) and item.dtype.startswith("float") for item in self.inputs)

    def with_type(self, dtype: str) -> Case:
        """Return the case with `dtype` at every input whose type goes with the first float input's."""
        letters = _type_letters(self.op_type, self.domain, len(self.inputs))
        main = next(
            (letters[i] for i, item in enumerate(self.inputs) if isinstance(item, Data) and item.dtype == "float32"), ""
        )
        inputs = tuple(
            _retype(item, dtype) if letters[index] == main else item for index, item in enumerate(self.inputs)
        )
        return replace(self, inputs=inputs)

    def allowed_types(self) -> tuple[str, ...]:
        """List the element types that ONNX allows where the first float input is."""
        if not onnx.defs.has(self.op_type, OPSET, self.domain):
            return ()
        schema = onnx.defs.get_schema(self.op_type, OPSET, self.domain)
        letters = _type_letters(self.op_type, self.domain, len(self.inputs))
        for index, item in enumerate(self.inputs):
            if isinstance(item, Data) and item.dtype == "float32":
                for constraint in schema.type_constraints:
                    if constraint.type_param_str == letters[index]:
                        return tuple(sorted(_TYPES[text] for text in constraint.allowed_type_strs if text in _TYPES))
        return ()


_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


@lru_cache(maxsize=1024)
def _type_letters(op_type: str, domain: str, count: int) -> tuple[str, ...]:
    """Return the type parameter of each input; a variadic last one is repeated."""
    if not onnx.defs.has(op_type, OPSET, domain):
        return ("T",) * count
    formal = onnx.defs.get_schema(op_type, OPSET, domain).inputs
    return tuple(formal[min(index, len(formal) - 1)].type_str for index in range(count))


def _retype(item: Input, dtype: str) -> Input:
    if item is None:
        return None
    if isinstance(item, Fixed):
        if dtype.startswith("float"):
            return replace(item, dtype=dtype)
        least = 0 if dtype.startswith(("u", "b")) else -9
        many = item.value if isinstance(item.value, tuple) else (item.value,)
        whole = tuple(max(int(one), least) for one in many)
        return replace(item, value=whole if isinstance(item.value, tuple) else whole[0], dtype=dtype)
    if dtype == "bool":
        return replace(item, dtype=dtype, low=0, high=2)
    if dtype.startswith("float"):
        return replace(item, dtype=dtype)
    # 0 is left out: integer division by it ends the process.
    low = 1 if dtype.startswith("u") or item.low > 0 else -9
    return replace(item, dtype=dtype, low=low, high=10)


def _show(item: Input) -> str:
    if item is None:
        return "-"
    if isinstance(item, Fixed):
        return f"{'run-time ' if item.run_time else ''}{item.dtype} {_value(item.value)}"
    kind = "" if isinstance(item, Data) else f"{item.role} "
    return f"{kind}{item.dtype}[{'x'.join(map(str, item.shape))}]"


def _value(value: Attribute | tuple[bool, ...]) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
