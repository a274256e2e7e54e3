"""Encodings files of other tools: AIMET's JSON (0.6.1 and 1.0.0) and ONNX Runtime's TensorQuantOverrides as JSON.

Sources: AIMET's documentation, "Encoding format specification"; onnxruntime.quantization.tensor_quant_overrides.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from npuopt.errors import InputError
from npuopt.graph import constant, is_constant, static_shape
from npuopt.quantization.arithmetic import affine, limits
from npuopt.quantization.encodings import LARGEST_FILE, Encoding
from npuopt.quantization.incoming.quantized_model import Incoming
from npuopt.quantization.roles import channel_axis

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from npuopt.graph import Model, Value
    from npuopt.quantization.arithmetic import IntegerType

Document: TypeAlias = "dict[str, Any]"
Entry: TypeAlias = "tuple[Encoding, int | None]"
"""How a tensor is held, the axis of several scales left open, and the axis where the file says it."""

_ORT_TYPES: dict[str, IntegerType] = {
    "QInt4": "int4",
    "QUInt4": "uint4",
    "QInt8": "int8",
    "QUInt8": "uint8",
    "QInt16": "int16",
    "QUInt16": "uint16",
}
ORT_NAMES: dict[str, str] = {name: found for found, name in _ORT_TYPES.items()}
LOOSE = ConfigDict(extra="ignore", frozen=True)  # tools add fields of their own


class _OldAimet(BaseModel):
    """One scale of AIMET 0.6.1."""

    model_config = LOOSE
    bitwidth: int = Field(ge=2, le=32)
    dtype: str = "int"
    is_symmetric: bool = False
    scale: float | None = None
    offset: int | None = None
    min: float | None = None
    max: float | None = None


class _Aimet(BaseModel):
    """One tensor of AIMET 1.0.0."""

    model_config = LOOSE
    name: str
    bw: int = Field(ge=2, le=32)
    dtype: str = "INT"
    enc_type: str = "PER_TENSOR"
    is_sym: bool = False
    scale: list[float] = Field(default=[])
    offset: list[int] = Field(default=[])


class _Override(BaseModel):
    """One scale of ONNX Runtime's overrides."""

    model_config = LOOSE
    quant_type: Literal["QInt4", "QUInt4", "QInt8", "QUInt8", "QInt16", "QUInt16"] = "QUInt8"
    axis: int | None = None
    symmetric: bool = False
    scale: float | None = None
    zero_point: int | None = None
    rmin: float | None = None
    rmax: float | None = None


def read_foreign(path: Path) -> dict[str, Entry] | None:
    """Read the encodings of another tool by tensor name; None where the file is npuopt's own.

    Raises:
        InputError: when it cannot be read, is no encodings file, or an entry is broken.
    """
    document = _document(path)
    if document.get("format") == "npuopt-encodings":
        return None
    try:
        if "activation_encodings" in document or "param_encodings" in document:
            return _aimet(document, path)
        if document and all(isinstance(entry, list) for entry in document.values()):
            return {name: _override(name, entry, path) for name, entry in document.items()}
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{place}: {first['msg']}", where=str(path)) from error
    raise InputError(
        "says neither npuopt's encodings, nor AIMET's, nor ONNX Runtime's tensor overrides", where=str(path)
    )


def named_in(entries: Mapping[str, Entry], model: Model, where: str) -> tuple[Incoming, list[str]]:
    """Return the encodings of the model's tensors, and the names that it does not have.

    Raises:
        InputError: when none is there, or scales do not fit a tensor's channels.
    """
    made = [output for node in model.graph for output in node.outputs]
    values = {value.name or "": value for value in (*model.graph.inputs, *model.graph.initializers.values(), *made)}
    incoming = Incoming(of_floats=True)
    for name, (encoding, axis) in entries.items():
        if (value := values.get(name)) is not None:
            incoming.tensors[name] = _on_axis(encoding, axis, value)
            if is_constant(value):
                incoming.constants.add(name)
    if not incoming.tensors:
        raise InputError("none of its tensors is in the model", where=where, hint="its names are those of another one")
    return incoming, [name for name in entries if name not in values]


def _document(path: Path) -> Document:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError("encodings file is larger than 256 MiB", where=str(path))
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"encodings file cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("encodings file is not UTF-8 text", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"encodings file is not JSON: {error}", where=str(path)) from error
    if not isinstance(found, dict):
        raise InputError("encodings file holds no JSON object", where=str(path))
    return cast("Document", found)


def _aimet(document: Document, path: Path) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for section in ("activation_encodings", "param_encodings"):
        given: object = document.get(section) or {}
        if isinstance(given, dict):
            scales = TypeAdapter(dict[str, list[_OldAimet]]).validate_python(given)
            found = {name: _old_aimet(name, by_channel, path) for name, by_channel in scales.items()}
        else:
            tensors = TypeAdapter(list[_Aimet]).validate_python(given)
            found = {one.name: _new_aimet(one, path) for one in tensors}
        entries.update({name: entry for name, entry in found.items() if entry is not None})
    return entries


def _old_aimet(name: str, scales: list[_OldAimet], path: Path) -> Entry | None:
    if not scales or scales[0].dtype.lower() != "int":
        return None  # floats are no integers to hold
    first = scales[0]
    if any((one.bitwidth, one.is_symmetric) != (first.bitwidth, first.is_symmetric) for one in scales):
        raise InputError(f"channels of {name} differ in bits or symmetry", where=str(path))
    pairs: list[tuple[float, int]] = []
    for one in scales:
        if one.scale is not None and one.offset is not None:
            pairs.append((one.scale, one.offset))
        elif one.min is not None and one.max is not None:
            scale, zero_point = affine(one.min, one.max, _unsigned(name, one.bitwidth, path))
            pairs.append((scale, -zero_point))
        else:
            raise InputError(f"{name} has neither scale and offset nor min and max", where=str(path))
    return _by_offsets(name, first.bitwidth, [pair[0] for pair in pairs], [pair[1] for pair in pairs], path), None


def _new_aimet(one: _Aimet, path: Path) -> Entry | None:
    if one.dtype.lower() != "int":
        return None
    if one.enc_type not in ("PER_TENSOR", "PER_CHANNEL"):
        raise InputError(f"{one.name} is encoded {one.enc_type}; PER_TENSOR and PER_CHANNEL are read", where=str(path))
    if len(one.scale) != len(one.offset) or not one.scale:
        raise InputError(f"{one.name} has {len(one.scale)} scales and {len(one.offset)} offsets", where=str(path))
    return _by_offsets(one.name, one.bw, one.scale, one.offset, path), None


def _by_offsets(name: str, bits: int, scales: list[float], offsets: list[int], path: Path) -> Encoding:
    """Return the encoding of real = (integer + offset) * scale with integers from 0.

    Offsets in the middle, or one beside it as AIMET has them for symmetric encodings, are signed integers about 0.
    """
    half = 2 ** (bits - 1)
    if all(offset in (-half, 1 - half) for offset in offsets):
        return _made(name, _signed(name, bits, path), scales, [0] * len(scales), path)
    return _made(name, _unsigned(name, bits, path), scales, [-offset for offset in offsets], path)


def _override(name: str, given: list[Any], path: Path) -> Entry:
    scales = [_Override.model_validate(one) for one in given]
    if not scales:
        raise InputError(f"{name} has no entry", where=str(path))
    dtype = _ORT_TYPES[scales[0].quant_type]
    pairs: list[tuple[float, int]] = []
    for one in scales:
        if one.scale is not None:
            pairs.append((one.scale, one.zero_point or 0))
        elif one.rmin is not None and one.rmax is not None:
            pairs.append(affine(one.rmin, one.rmax, dtype, symmetric=one.symmetric))
        else:
            raise InputError(f"{name} has neither a scale nor rmin and rmax", where=str(path))
    held = _made(name, dtype, [pair[0] for pair in pairs], [pair[1] for pair in pairs], path)
    return held, scales[0].axis


def _made(name: str, dtype: IntegerType, scales: list[float], zero_points: list[int], path: Path) -> Encoding:
    one_for_all = zero_points[:1] if len(set(zero_points)) == 1 else zero_points
    held = {
        "dtype": dtype,
        "scale": tuple(scales),
        "zero_point": tuple(one_for_all),
        "axis": None if len(scales) == 1 else 0,
    }
    try:
        return Encoding.model_validate(held)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (name, *first["loc"]))
        raise InputError(f"{place}: {first['msg']}", where=str(path)) from error


def _on_axis(encoding: Encoding, axis: int | None, value: Value) -> Encoding:
    """Put several scales on the axis that the file says, or else that of the channels of what reads the tensor."""
    if encoding.axis is None:
        return encoding
    shape = static_shape(value) or ()
    found = axis if axis is not None else _channels(value)
    if found is None or not -len(shape) <= found < len(shape) or shape[found % len(shape)] != len(encoding.scale):
        raise InputError(f"{len(encoding.scale)} scales for a tensor of shape {list(shape)}", where=value.name or "")
    return encoding.model_copy(update={"axis": found % len(shape)})


def _channels(value: Value) -> int | None:
    if constant(value) is None:
        return None
    axes = [channel_axis(use.node, use.idx) for use in value.uses()]
    return next((axis for axis in axes if axis is not None), 0)


def _signed(name: str, bits: int, path: Path) -> IntegerType:
    return cast("IntegerType", _of_bits(name, bits, path, ("int4", "int8", "int16", "int32")))


def _unsigned(name: str, bits: int, path: Path) -> IntegerType:
    return cast("IntegerType", _of_bits(name, bits, path, ("uint4", "uint8", "uint16")))


def _of_bits(name: str, bits: int, path: Path, types: tuple[IntegerType, ...]) -> str:
    for dtype in types:
        if (limits(dtype)[1] - limits(dtype)[0]).bit_length() == bits:
            return dtype
    raise InputError(f"{name} has {bits} bits, for which there is no integer type", where=str(path))
