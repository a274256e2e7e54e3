"""Writes encodings as other tools read them; tensors go by the names that they have in the source model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from npuopt.graph import is_constant, origins
from npuopt.quantization.arithmetic import limits
from npuopt.quantization.incoming.foreign import ORT_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.graph import Model
    from npuopt.quantization.encodings import Encoding, Encodings

Foreign: TypeAlias = Literal["aimet", "aimet-0.6.1", "ort"]
Format: TypeAlias = Literal["npuopt", "aimet", "aimet-0.6.1", "ort"]


def foreign_text(encodings: Encodings, source: Model, made: Model, kind: Foreign) -> tuple[str, list[str]]:
    """Return a file's text, and the tensors that it cannot name as they are in no source model.

    Weights that a rewrite has changed, and encodings of single uses, have no place in these formats.

    Args:
        encodings: by the names in `made`.
        source: the model as it came.
        made: the rewritten model, with notes of origins.
        kind: `aimet` is version 1.0.0.
    """
    named, lost = _by_source(encodings.tensors, source, made)
    constants = {name for name, value in source.graph.initializers.items() if is_constant(value)}
    write = {"aimet": _aimet, "aimet-0.6.1": _old_aimet, "ort": _overrides}[kind]
    return json.dumps(write(named, constants), indent=1) + "\n", lost


def _by_source(tensors: Mapping[str, Encoding], source: Model, made: Model) -> tuple[dict[str, Encoding], list[str]]:
    there = {output.name or "" for node in source.graph for output in node.outputs}
    there |= {value.name or "" for value in source.graph.inputs} | set(source.graph.initializers)
    names: dict[str, list[str]] = {}
    outputs = [output for node in made.graph for output in node.outputs]
    for value in (*made.graph.inputs, *outputs):
        noted = [name for name, factor in origins(value) if factor == 1.0 and name in there]
        names.setdefault(value.name or "", []).extend(noted)
    found: dict[str, Encoding] = {}
    lost: list[str] = []
    for name, encoding in tensors.items():
        known = names.get(name) or ([name] if name in there else [])
        found.update(dict.fromkeys(known, encoding))
        if not known:
            lost.append(name)
    return found, lost


def _offset(encoding: Encoding, zero_point: int) -> int:
    """Return AIMET's offset: the zero point of integers from 0, negated."""
    return limits(encoding.dtype)[0] - zero_point


def _is_symmetric(encoding: Encoding) -> bool:
    smallest, largest = limits(encoding.dtype)
    return set(encoding.zero_point) == {(smallest + largest + 1) // 2}


def _offsets(encoding: Encoding) -> list[int]:
    points = encoding.zero_point * (len(encoding.scale) // len(encoding.zero_point))
    return [_offset(encoding, point) for point in points]


def _bits(encoding: Encoding) -> int:
    smallest, largest = limits(encoding.dtype)
    return (largest - smallest).bit_length()


def _aimet(named: Mapping[str, Encoding], constants: set[str]) -> dict[str, Any]:
    entries = {
        name: {
            "name": name,
            "enc_type": "PER_TENSOR" if held.axis is None else "PER_CHANNEL",
            "dtype": "INT",
            "bw": _bits(held),
            "is_sym": _is_symmetric(held),
            "scale": list(held.scale),
            "offset": _offsets(held),
        }
        for name, held in sorted(named.items())
    }
    return {
        "version": "1.0.0",
        "activation_encodings": [entry for name, entry in entries.items() if name not in constants],
        "param_encodings": [entry for name, entry in entries.items() if name in constants],
    }


def _old_aimet(named: Mapping[str, Encoding], constants: set[str]) -> dict[str, Any]:
    def scales(held: Encoding) -> list[dict[str, Any]]:
        last = limits(held.dtype)[1] - limits(held.dtype)[0]
        return [
            {
                "bitwidth": _bits(held),
                "dtype": "int",
                "is_symmetric": str(_is_symmetric(held)),
                "scale": scale,
                "offset": offset,
                "min": offset * scale,
                "max": (offset + last) * scale,
            }
            for scale, offset in zip(held.scale, _offsets(held), strict=True)
        ]

    entries = {name: scales(held) for name, held in sorted(named.items())}
    return {
        "version": "0.6.1",
        "activation_encodings": {name: entry for name, entry in entries.items() if name not in constants},
        "param_encodings": {name: entry for name, entry in entries.items() if name in constants},
    }


def _overrides(named: Mapping[str, Encoding], constants: set[str]) -> dict[str, Any]:
    del constants  # overrides tell them apart by the model
    found: dict[str, Any] = {}
    for name, held in sorted(named.items()):
        if held.dtype not in ORT_NAMES:
            continue  # 32-bit biases, which ONNX Runtime makes itself of the scales that meet in them
        points = held.zero_point * (len(held.scale) // len(held.zero_point))
        entries: list[dict[str, Any]] = [
            {"quant_type": ORT_NAMES[held.dtype], "scale": scale, "zero_point": point}
            for scale, point in zip(held.scale, points, strict=True)
        ]
        if held.axis is not None:
            entries[0]["axis"] = held.axis
        found[name] = entries
    return found
