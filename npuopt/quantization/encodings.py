"""Encodings: how each tensor's numbers are held as integers, and the file that carries them."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator

from npuopt.errors import InputError
from npuopt.graph import input_at, is_op, static_shape
from npuopt.quantization.arithmetic import FLOAT8, IntegerType, limits
from npuopt.quantization.block_encodings import BlockEncoding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from npuopt.graph import Model, Value
    from npuopt.quantization.ranges import Range

Entry = TypeVar("Entry")

LARGEST_FILE = 256 * 2**20
"""Bytes above which an encodings file is not read: a vocabulary of a million rows takes about 25 MB."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
_FLOAT32 = np.finfo(np.float32)
Scale = Annotated[
    float, Field(gt=0, ge=float(_FLOAT32.smallest_subnormal), allow_inf_nan=False, le=float(_FLOAT32.max))
]


class Encoding(BaseModel):
    """How one tensor is quantized: real = (integer - zero_point) * scale.

    Attributes:
        dtype: the integer type.
        scale: one positive float32-valued number, or one per index along `axis`.
        zero_point: the integer that stands for 0.0: one for all channels, or as many as there are scales.
        axis: the channel axis counted from the front, or None for one scale for the whole tensor.
        largest: of a symmetric encoding: how far integers are from zero at most, where that is less than the type has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: IntegerType
    scale: tuple[Scale, ...] = Field(min_length=1)
    zero_point: tuple[int, ...] = Field(min_length=1)
    axis: int | None = Field(default=None, ge=0)
    largest: int | None = Field(default=None, ge=1)

    @field_validator("scale", "zero_point", mode="before")
    @classmethod
    def _accept_one_number(cls, given: object) -> object:
        return (given,) if isinstance(given, int | float) else given

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.zero_point) not in (1, len(self.scale)):
            raise ValueError(f"{len(self.scale)} scales but {len(self.zero_point)} zero points")
        if self.axis is None and len(self.scale) != 1:
            raise ValueError(f"{len(self.scale)} scales but no axis")
        smallest, largest = limits(self.dtype)
        outside = [point for point in self.zero_point if not smallest <= point <= largest]
        if outside:
            raise ValueError(f"zero point {outside[0]} is outside {self.dtype} ({smallest}..{largest})")
        if self.dtype in FLOAT8 and any(self.zero_point):
            raise ValueError(f"{self.dtype} has no zero point but 0")
        return self

    @field_serializer("scale")
    def _write_scale(self, scale: tuple[float, ...]) -> float | tuple[float, ...]:
        return scale[0] if self.axis is None else scale

    @field_serializer("zero_point")
    def _write_zero_point(self, zero_point: tuple[int, ...]) -> int | tuple[int, ...]:
        return zero_point[0] if len(zero_point) == 1 else zero_point

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest integer that numbers become."""
        return limits(self.dtype, self.largest)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest real number that the encoding can represent, over all channels."""
        smallest, largest = self.limits
        scale, zero_point = np.asarray(self.scale), np.asarray(self.zero_point)
        return float(((smallest - zero_point) * scale).min()), float(((largest - zero_point) * scale).max())


def covers(encoding: Encoding, found: Range) -> bool:
    """Say whether the encoding holds all of the range, up to the half step by which moving zero to an integer cuts."""
    low, high = encoding.range
    slack = 0.51 * max(encoding.scale)
    return low - slack <= found.low and found.high <= high + slack


def per_tensor(dtype: IntegerType, scale: float, zero_point: int) -> Encoding:
    """Return an encoding with one scale for the whole tensor."""
    return Encoding(dtype=dtype, scale=(scale,), zero_point=(zero_point,))


class Rewrite(BaseModel):
    """A pass that makes the float model lose less when it is quantized, to be run ahead of the encodings.

    Attributes:
        pass_name: the pass.
        options: its options.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pass_name: str
    options: dict[str, Any] = Field(default_factory=dict[str, Any])


class Encodings(BaseModel):
    """The encodings of a model's tensors.

    Attributes:
        scheme: the scheme's name in the target they were made for, for the record.
        target: the target's name, for the record.
        precisions: nodes that are computed in another of its schemes, by the name of their first output, for the
            record.
        calibration: the method that found the ranges, for the record.
        rewrites: what was done to the float model ahead of calibration, and has to be done again to another copy.
        tensors: how each quantized tensor is held, by name. Tensors that are not here stay float.
        uses: where a node reads a tensor in another encoding than the tensor's own, by the name of the node's
            first output and then the input's index: a conversion for an activation, a second copy for a weight.
        corrections: what is added to a bias before it is held, to make up for what rounding the weights does to the
            mean of the result; one number for each of its elements, keyed as `uses`.
        blocks: weights that are held as integers and computed with in float, by name; their scales are in the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["npuopt-encodings"] = "npuopt-encodings"
    version: Literal[1] = 1
    target: str = ""
    scheme: str = ""
    precisions: dict[str, str] = Field(default_factory=dict[str, str])
    calibration: str = ""
    rewrites: tuple[Rewrite, ...] = ()
    tensors: dict[str, Encoding]
    uses: dict[str, dict[int, Encoding]] = Field(default_factory=dict[str, dict[int, Encoding]])
    corrections: dict[str, dict[int, tuple[Finite, ...]]] = Field(
        default_factory=dict[str, dict[int, tuple[float, ...]]]
    )
    blocks: dict[str, BlockEncoding] = Field(default_factory=dict[str, BlockEncoding])

    def read_by(self, output: str, index: int, name: str) -> Encoding | None:
        """Return how the node that makes `output` reads the tensor `name` at input `index`; None for floats."""
        return self.uses.get(output, {}).get(index) or self.tensors.get(name)

    def save(self, path: Path) -> None:
        """Write the file: sorted by name, one tensor a line, numbers such that reading gives back the same floats."""
        path.write_text(self.to_json(), encoding="utf-8")

    def to_json(self) -> str:
        """Return the file's text."""
        document = self.model_dump(mode="json", exclude_none=True)
        if not self.blocks:
            del document["blocks"]
        sections = tuple(key for key in ("precisions", "tensors", "uses", "corrections", "blocks") if key in document)
        lines = [f"  {json.dumps(key)}: {json.dumps(document[key])}" for key in document if key not in sections]
        for section in sections:
            entries = [
                f"    {json.dumps(name)}: {json.dumps(held)}" for name, held in sorted(document[section].items())
            ]
            body = "{\n" + ",\n".join(entries) + "\n  }" if entries else "{}"
            lines.append(f"  {json.dumps(section)}: {body}")
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def load(cls, path: Path) -> Encodings:
        """Read a file.

        Raises:
            InputError: when it cannot be read or does not say what encodings must say, with the first entry at fault.
        """
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise InputError("encodings file is larger than 256 MiB", where=str(path))
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"encodings file cannot be read: {error.strerror}", where=str(path)) from error
        except UnicodeDecodeError as error:
            raise InputError("encodings file is not UTF-8 text", where=str(path)) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{place or 'document'}: {first['msg']}", where=str(path)) from error

    def check(self, model: Model) -> None:
        """Raise InputError when an encoding names a tensor or a use that `model` does not have, or does not fit it."""
        values = {value.name: value for value in _values(model) if value.name}
        for name in (*self.tensors, *self.blocks):
            if name not in values:
                raise InputError(
                    f"encodings name a tensor that the model does not have: {name}", hint=_suggestion(name, values)
                )
        for name, encoding in self.tensors.items():
            _check_fits(values[name], encoding)
        for name, held in self.blocks.items():
            held.check_fits(values[name])
        for output, index, encoding in _by_use(self.uses):
            value = _read_by(output, index, values)
            if value is not None:
                _check_fits(value, encoding)
        for output, index, numbers in _by_use(self.corrections):
            value = _read_by(output, index, values)
            shape = static_shape(value)
            if value is not None and shape is not None and int(np.prod(shape)) != len(numbers):
                raise InputError(f"{len(numbers)} corrections for shape {list(shape)}", where=value.name or "")


def _by_use(entries: Mapping[str, Mapping[int, Entry]]) -> Iterator[tuple[str, int, Entry]]:
    for output, by_index in entries.items():
        for index, entry in by_index.items():
            yield output, index, entry


def _read_by(output: str, index: int, values: dict[str, Value]) -> Value | None:
    """Return what the node that makes `output` reads at `index`; None where `output` is quantized already.

    Raises:
        InputError: when there is no such node, or no such input.
    """
    node = values[output].producer() if output in values else None
    if node is None:
        what = f"encodings name a node that the model does not have: the one that makes {output}"
        raise InputError(what, hint=_suggestion(output, values))
    if is_op(node, "DequantizeLinear"):
        return None  # it took over the name of a graph output
    value = input_at(node, index) if index >= 0 else None
    if value is None:
        raise InputError(f"encodings name input {index} of the node that makes {output}, which has none")
    return value


def _values(model: Model) -> Iterator[Value]:
    yield from model.graph.inputs
    yield from model.graph.initializers.values()
    for node in model.graph:
        yield from node.outputs


def _suggestion(name: str, known: dict[str, Value]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else ""


def _check_fits(value: Value, encoding: Encoding) -> None:
    """Raise InputError when a per-channel encoding does not fit the tensor's shape."""
    if encoding.axis is None or value.shape is None:
        return
    if encoding.axis >= len(value.shape):
        raise InputError(f"axis {encoding.axis} of a tensor of rank {len(value.shape)}", where=value.name or "")
    size = value.shape[encoding.axis]
    if isinstance(size, int) and size != len(encoding.scale):
        raise InputError(f"{len(encoding.scale)} scales for {size} channels", where=value.name or "")
