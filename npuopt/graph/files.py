"""Model files: read with their weights mapped, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx.version_converter
import onnx_ir as ir
import onnx_ir.passes.common as ir_passes
from google.protobuf.message import DecodeError

from npuopt.errors import InputError

if TYPE_CHECKING:
    from os import PathLike

CANONICAL_OPSET = 24
"""The version of the standard domain that every loaded model is in."""


def load(path: str | PathLike[str]) -> ir.Model:
    """Read an ONNX file.

    Raises:
        InputError: when it is not one.
    """
    path = Path(path)
    try:
        proto = onnx.ModelProto.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise InputError(f"cannot be read as an ONNX model ({error})", where=str(path)) from None
    imports = {entry.domain: entry.version for entry in proto.opset_import}
    if imports.get("", 0) < CANONICAL_OPSET:
        proto = onnx.version_converter.convert_version(proto, CANONICAL_OPSET)
    model = ir.from_proto(proto)
    ir_passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    ir.external_data.set_base_dir(model.graph, path.parent)  # pyright: ignore[reportUnknownMemberType] -- os.PathLike without argument
    return model


def save(model: ir.Model, path: str | PathLike[str], external_data: bool | None = None) -> None:
    """Write the model to `path`.

    Args:
        model: stays as it is.
        path: the .onnx file.
        external_data: whether the weights go into a file of their own next to it, `<path>.data`.
    """
    path = Path(path)
    name = f"{path.name}.data" if external_data else None
    ir.save(model, path, external_data=name)  # pyright: ignore[reportUnknownMemberType] -- os.PathLike without argument


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Return the whole model, weights included, as a new proto (so below 2 GiB only)."""
    return ir.to_proto(model)
