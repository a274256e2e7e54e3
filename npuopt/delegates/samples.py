"""Samples on their way to a vendor's runtime: what the region's inputs are, and whether a sample fits them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError

from npuopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np


def read_header(path: Path) -> onnx.ModelProto:
    """Read a model without its external data.

    Raises:
        InputError: when it is none.
    """
    try:
        return onnx.ModelProto.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise InputError(f"cannot be read as an ONNX model ({error})", where=str(path)) from error


def run_time_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the graph inputs that are no initializers."""
    initialized = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in initialized]


def write_interface(model: onnx.ModelProto, path: Path) -> None:
    """Write a model's run-time inputs and outputs, and its metadata, as a model without nodes."""
    graph = onnx.GraphProto(name=model.graph.name, input=run_time_inputs(model), output=model.graph.output)
    interface = onnx.ModelProto(ir_version=model.ir_version, graph=graph, metadata_props=model.metadata_props)
    path.write_bytes(interface.SerializeToString())


def check_sample(sample: Mapping[str, np.ndarray], inputs: Sequence[onnx.ValueInfoProto]) -> None:
    """Compare a sample with the graph's inputs.

    Raises:
        InputError: when one is missing, or of another type or shape.
    """
    for value in inputs:
        if value.name not in sample:
            raise InputError("is missing from the sample", where=f"input {value.name!r}")
        array, declared = sample[value.name], value.type.tensor_type
        wanted = onnx.helper.tensor_dtype_to_np_dtype(declared.elem_type)
        if array.dtype != wanted:
            raise InputError(f"has type {array.dtype}, not {wanted}", where=f"input {value.name!r}")
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in declared.shape.dim)
        fits = len(shape) == array.ndim and all(
            size in (None, given) for size, given in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise InputError(f"has shape {list(array.shape)}, not {list(shape)}", where=f"input {value.name!r}")
